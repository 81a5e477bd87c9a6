"""Profiles: every field of the file with every value that it should not have."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from espnet_pse_kd.runtime.profile import Profile
from tools.hostile.ground import Case, Ground, make_inputs

VALUES = ("null", "NaN", "Infinity", "-1", "0", "true", "1e999", '""', '"x"', "[]")
VALUES += ("{}", "[[[[1]]]]", '"' + "x" * 5000 + '"', '"\\u001b[2J"', "9" * 4000)
VALUES += ('"\\ud800"', '["a", 3]', "[" * 3000 + "]" * 3000)
"""JSON that replaces a value."""
_GAP = "<here>"


def cases() -> Iterator[Case]:
    """All of this module."""
    for path in _paths(_good()):
        for number, value in enumerate(VALUES):
            text = json.dumps(_replaced(_good(), path, _GAP))
            text = text.replace(json.dumps(_GAP), value)
            name = f"{'.'.join(map(str, path))} is {value:.20} ({number})"
            yield _case(name, text.encode())
        yield _case(f"without {path}", json.dumps(_removed(_good(), path)).encode())
    good = json.dumps(_good()).encode()
    for name, data in _files(good):
        yield _case(name, data)
    for name in ("fifo.wav", "folder.wav", "loop.wav", "none", "", "/dev/zero"):
        yield Case("profile", f"the path {name!r}", functools.partial(_load, name))
    yield Case("profile", "a link to /dev/zero", _linked)


def _files(good: bytes) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "a byte order mark", b"\xef\xbb\xbf" + good
    yield "UTF-16", good.decode().encode("utf-16")
    yield "NULs", good + bytes(100)
    yield "2 MB of spaces", good + b" " * 2_000_000
    yield "twice", good + good
    yield "deep", b"[" * 100_000
    yield "many keys", json.dumps({str(n): n for n in range(50_000)}).encode()
    for at in range(0, len(good), max(1, len(good) // 40)):
        yield f"the first {at} bytes", good[:at]
        yield f"byte {at} changed", good[:at] + b"\xff" + good[at + 1 :]


@functools.cache
def _written() -> str:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        make_inputs(Path(folder))
        return Path(folder, "me.profile").read_text(encoding="utf-8")


def good() -> bytes:
    """A good profile."""
    return _written().encode()


def _good() -> Any:
    return json.loads(_written())


def _paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Places in nested JSON; of a list, its first entry."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))[:1]
    for key, inner in items:
        yield (*before, key)
        yield from _paths(inner, (*before, key))


def _replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return value


def _removed(value: Any, path: tuple[Any, ...]) -> Any:
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return value


def _case(name: str, data: bytes) -> Case:
    def run(ground: Ground) -> None:
        path = ground.folder / "crafted.profile"
        path.write_bytes(data)
        use_profile(ground, path)

    return Case("profile", name, run)


def use_profile(ground: Ground, path: Path) -> None:
    """Load a profile and enhance with it, as the commands do."""
    import numpy as np

    profile = Profile.load(path)
    output = ground.enhancer(np.zeros(800, np.float32), 16000, profile)
    assert np.isfinite(output).all()


def _load(name: str, ground: Ground) -> None:
    Profile.load(name and Path(name) if name.startswith("/") else ground.folder / name)


def _linked(ground: Ground) -> None:
    os.symlink("/dev/zero", ground.folder / "zero.profile")
    Profile.load(ground.folder / "zero.profile")
