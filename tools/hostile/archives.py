"""Zips as stage 8 packs them: names, sizes, flags, configurations, checkpoints."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.hostile.ground import Case, Ground

CONF = {"width": 8, "layers": 1, "feed_hidden": 8}
OPTIONS = (
    *("width", "layers", "feed_hidden", "speaker_dim", "condition_dim", "window"),
    *("hop", "exponent", "level_decay_db", "speaker_encoder", "personalized", "new"),
)
VALUES: tuple[Any, ...] = (-1, 0, 10**8, 10**30, 1.5, float("nan"), float("inf"), "x")
VALUES += ([], [1] * 20, {}, None, [[1]], True, "x" * 5000)
"""Values of an option or entry."""
NAMES = (
    "../x",
    "/x",
    "C:/x",
    "C:x",
    "c:\\x",
    "\\x",
    "\\\\host\\x",
    "a/../../x",
    "x\0y",
)
NAMES += ("", "x" * 5000, "meta.yaml/", "\x1b[2J", "e\u0301")
"""Names of a further member."""


def cases() -> Iterator[Case]:
    """All of this module; they need torch."""
    for name in NAMES:
        yield _case(f"a member {name!r:.20}", more=name)
        yield _case(f"the model is {name!r:.20}", model_file=name)
    for key in ("extractor", "extractor_conf", "sample_rate"):
        for value in VALUES:
            yield _case(f"{key} is {value!r:.30}", **{key: value})
    for option in OPTIONS:
        for value in VALUES:
            conf = {**CONF, option: value}
            yield _case(f"{option} is {value!r:.30}", extractor_conf=conf)
    for name in CHECKPOINTS:
        yield Case("zip", f"a checkpoint: {name}", functools.partial(_checkpoint, name))
    for at in range(0, 400, 7):
        yield Case("zip", f"byte {at}", functools.partial(_changed, at))
        yield Case(
            "zip", f"byte {at} from the end", functools.partial(_changed, -1 - at)
        )
    for share in (0.0, 0.1, 0.5, 0.9, 0.99):
        yield Case("zip", f"the first {share:.0%}", functools.partial(_cut, share))


def use_zip(path: Path) -> None:
    """Load a packed student, as export does."""
    from espnet_pse_kd.export import load_student

    load_student(path)


@functools.cache
def checkpoint() -> dict[str, Any]:
    """Parameters of a small network."""
    import torch

    from espnet_pse_kd.nets.mingru import MinGRUNet

    torch.manual_seed(0)
    own = MinGRUNet(**CONF).state_dict()
    return {f"extractor.network.{name}": value for name, value in own.items()}


def saved(state: Any) -> bytes:
    """A checkpoint's bytes."""
    import torch

    torch.save(state, file := io.BytesIO())
    return file.getvalue()


def packed(
    model: bytes, more: str | None = None, model_file: str = "m", **config: Any
) -> bytes:
    """A zip as stage 8 packs it."""
    import yaml

    known = {"extractor": "mingru", "extractor_conf": CONF, "sample_rate": 16000}
    meta = {"files": {"model_file": model_file}, "yaml_files": {"train_config": "c"}}
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("m", model)
        archive.writestr("c", yaml.safe_dump({**known, **config}))
        archive.writestr("meta.yaml", yaml.safe_dump(meta))
        if more is not None:
            archive.writestr(zipfile.ZipInfo(more or "x"), "")
    return file.getvalue()


def _load(ground: Ground, data: bytes) -> None:
    path = ground.folder / "crafted.zip"
    path.write_bytes(data)
    use_zip(path)


def _case(name: str, **changes: Any) -> Case:
    def run(ground: Ground) -> None:
        _load(ground, packed(saved(checkpoint()), **changes))

    return Case("zip", name, run)


def _changed(at: int, ground: Ground) -> None:
    data = bytearray(packed(saved(checkpoint())))
    data[at] ^= 0xFF
    _load(ground, bytes(data))


def _cut(share: float, ground: Ground) -> None:
    data = packed(saved(checkpoint()))
    _load(ground, data[: int(share * len(data))])


class _Code:
    """What a pickle of it would do."""

    def __init__(self, trace: Path) -> None:
        self._trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._trace,)


def _tensors(key: str) -> dict[str, Any]:
    import torch

    return {
        "NaN": torch.full((8,), torch.nan),
        "infinite": torch.full((8,), torch.inf),
        "complex": torch.ones(8, dtype=torch.complex64),
        "4 TB": torch.ones(1).expand(1 << 40),
        "another shape": torch.ones(9),
        "sparse": torch.ones(8).to_sparse(),
        "whole numbers": torch.ones(8, dtype=torch.int64),
        "text": "x",
    }


CHECKPOINTS = ("NaN", "infinite", "complex", "4 TB", "another shape", "sparse")
CHECKPOINTS += ("whole numbers", "text", "code", "a list", "abc", "nothing", "a bomb")


def _checkpoint(name: str, ground: Ground) -> None:
    key = "extractor.network.norm.weight"
    bomb = io.BytesIO()
    if name == "a bomb":
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(5):
                archive.writestr(f"a/{number}", bytes(250_000_000), compresslevel=1)
    plain = {"abc": b"abc", "nothing": b"", "a bomb": bomb.getvalue()}
    if name in plain:
        _load(ground, packed(plain[name]))
    elif name == "a list":
        _load(ground, packed(saved([1, 2])))
    else:
        value = _Code(ground.trace) if name == "code" else _tensors(key)[name]
        _load(ground, packed(saved({**checkpoint(), key: value})))
