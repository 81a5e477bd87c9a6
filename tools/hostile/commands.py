"""Command lines: every option of every subcommand with every value."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import soundfile

from espnet_pse_kd.cli.main import COMMANDS, get_parsers, main, parse
from espnet_pse_kd.errors import UserError
from tools.hostile.ground import Case, Ground

VALUES = ("", " ", "-1", "0", "1", "nan", "inf", "1e400", "9" * 5000, "x", "../x", ".")
VALUES += ("a.wav", "me.wav", "me.profile", "text.wav", "empty.wav", "folder.wav", "/")
VALUES += ("fifo.wav", "loop.wav", "link.wav", "/dev/null", "/dev/zero", "/dev/stdout")
VALUES += ("-", "--", "*", "[", "a\0b", "\udc80.wav", "n" * 300, "a\nb", "\x1b[2J.wav")
"""Words in the place of any other."""
BASES = {
    "enhance": ("a.wav", "--profile", "me.profile", "-o", "out.wav"),
    "enroll": ("me.wav", "-o", "new.profile"),
}
"""Command lines that are run; of other subcommands, options are parsed only."""
_ENDLESS = ("--watch",)
_INPUTS = (
    "a.wav",
    "me.wav",
    "me.profile",
    "link.wav",
    "./a.wav",
    "folder.wav/../a.wav",
)
_WISHED = ("me.wav", ("--force",))
"""What `enhance` does not read is replaced if that is asked for."""
_SPECIAL = ("/dev/null", "/dev/stdout", "fifo.wav", "folder.wav", "loop.wav", ".", "")


def cases() -> Iterator[Case]:
    """All of this module."""
    for command in COMMANDS:
        base = BASES.get(command)
        for action in _options(command):
            option = action.option_strings[-1]
            if action.nargs == 0:
                words = [[option]] if option not in _ENDLESS else []
            else:
                words = [[f"{option}={value}"] for value in VALUES]
            for more in words:
                yield _case([command, *(base or ()), *more], bool(base))
        for value in VALUES:
            yield _case([command, value], command in BASES)
    for value in VALUES:
        yield _case(["enhance", value, "--profile", "me.profile", "-o", "out.wav"])
        yield _case(["enhance", "a.wav", value, "--profile=me.profile", "-o", "out"])
        yield _case(["enhance", "a.wav", f"--profile={value}", "-o", "out.wav"])
        yield _case(["enhance", "a.wav", f"--enroll={value}", "-o", "out.wav"])
        yield _case(["enroll", value, "-o", "new.profile"])
        yield _case([value])
    for output in (*_INPUTS, *_SPECIAL):
        for force in ((), ("--force",)):
            run = ["enhance", "a.wav", "--profile", "me.profile", "-o", output, *force]
            if (output, force) != _WISHED:
                yield _case(run)
            yield _case(["enroll", "me.wav", "a.wav", "-o", output, *force])


def _options(command: str) -> list[argparse.Action]:
    """Options of a subcommand; argparse has no public way to list them."""
    own = get_parsers(command).own
    assert own is not None
    return [action for action in own._actions if action.option_strings]


def _case(words: Sequence[str], run: bool = True) -> Case:
    name = " ".join(f"{word:.30}" for word in words)
    does = functools.partial(_run if run else _parse, list(words))
    return Case("command", repr(name)[1:-1], does)


def _parse(words: list[str], ground: Ground) -> None:
    """Parse a command line that would open devices, or take long."""
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        parse(words)


def _run(words: list[str], ground: Ground) -> None:
    """Run a command line and see what it did."""
    given = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    before = set(ground.folder.rglob("*"))
    stdin, sys.stdin = sys.stdin, given
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = _status(words)
    finally:
        sys.stdin = stdin
    err.seek(0)
    said = err.read()
    new = [path for path in ground.folder.rglob("*") if path not in before]
    _judge(words, status, said, [path for path in new if path.is_file()])


def _status(words: list[str]) -> int:
    try:
        main(words)
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def _judge(words: list[str], status: int, said: str, new: list[Path]) -> None:
    """Refused in one line with nothing written, or done with whole files."""
    assert "Traceback" not in said, said[-500:]
    assert status in (0, 2), f"status {status}: {said[-200:]}"
    if status == 2:
        last = said.splitlines()[-1] if said else ""
        assert last.startswith("error: "), f"no error line: {last[:200]}"
        assert len(last) < 12_000, f"an error line of {len(last)} characters"
        # Of several files some may be done.
        assert not new or " of " in last, f"refused, but wrote {new}"
        raise UserError(last)
    for path in new:
        assert path.stat().st_size, f"{path}: empty"
        report = f"--json={path.name}" in words
        if words[0] == "enhance" and path.suffix == ".wav" and not report:
            with open(path, "rb") as file:  # its name need not be text
                frames = soundfile.info(file).frames
            assert frames in (8000, 16000, 160_000), path
