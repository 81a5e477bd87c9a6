"""Runs cases in a process of its own, judges them, and ends what hangs."""

from __future__ import annotations

import contextlib
import hashlib
import multiprocessing
import os
import resource
import shutil
import stat
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.runtime.default_model import WEIGHTS
from tools.hostile import (
    archives,
    arguments,
    commands,
    models,
    profiles,
    requests,
    sounds,
    yamls,
)
from tools.hostile.ground import INPUTS, Case, Ground, lay_out, make_inputs

MODULES = {
    "sound": sounds,
    "profile": profiles,
    "model": models,
    "zip": archives,
    "yaml": yamls,
    "command": commands,
    "argument": arguments,
    "request": requests,
}
"""Where the cases of each kind are made."""
LIMIT = 20.0
"""Seconds of a case after which it counts as hanging."""
_STARTING = 300.0  # seconds that may pass until the first case
_MEMORY = 1_500_000  # KB by which one case may raise the peak


class Result(NamedTuple):
    """What became of a case.

    Attributes:
        case: its kind and name.
        refused: whether it was refused, in one line.
        faults: what it did that nothing may do.
        seconds: how long it took.
    """

    case: str
    refused: bool
    faults: list[str]
    seconds: float


def cases(kinds: Sequence[str]) -> list[Case]:
    """All cases of some kinds, in an order that does not change."""
    return [case for kind in kinds for case in MODULES[kind].cases()]


def run_all(kinds: Sequence[str], limit: float = LIMIT) -> Iterator[Result]:
    """Run the cases of some kinds.

    Args:
        kinds: keys of `MODULES`.
        limit: seconds of a case.

    Yields:
        a result for each; one that hangs, or ends its process, has that as its fault.
    """
    names = [f"{case.kind}: {case.name}" for case in cases(kinds)]
    done = 0
    while done < len(names):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=_work, args=(kinds, done, theirs), daemon=True)
        process.start()
        theirs.close()
        for result in _results(ours, limit):
            yield result
            done += 1
        if done < len(names):  # of a process that ended, or was ended here
            process.join(1.0)
            ended = not process.is_alive()
            process.kill()
            process.join()
            fault = f"ended with {process.exitcode}" if ended else f"over {limit:g} s"
            yield Result(names[done], False, [fault], limit)
            done += 1


def _results(ours: Connection, limit: float) -> Iterator[Result]:
    """Results of one process until it has none for too long."""
    patience = _STARTING
    while ours.poll(patience):
        try:
            result = ours.recv()
        except EOFError:
            return
        patience = limit
        if result is not None:  # which says that the first case begins
            yield result


def _work(kinds: Sequence[str], first: int, results: Connection) -> None:
    with tempfile.TemporaryDirectory(prefix="hostile-") as root:
        inputs = Path(root, "inputs")
        _seclude(Path(root))
        enhancer, profile = make_inputs(inputs)
        todo = cases(kinds)[first:]
        results.send(None)
        for number, case in enumerate(todo):
            folder = Path(root, str(number))
            lay_out(inputs, folder)
            ground = Ground(folder, enhancer, profile, Path(root, "trace"))
            results.send(_judged(case, ground, inputs))
            shutil.rmtree(folder, ignore_errors=True)


def _seclude(root: Path) -> None:
    """Nothing of the person who runs this is seen or written."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME"):
        os.environ[name] = str(root / name.lower())
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TMPDIR"] = tempfile.tempdir = str(root)
    sys.argv = ["pse-kd"]


def _judged(case: Case, ground: Ground, inputs: Path) -> Result:
    weights, peak = _state(WEIGHTS), _peak()
    start, refused, faults = time.monotonic(), False, list[str]()
    with contextlib.chdir(ground.folder):
        try:
            case.run(ground)
        except UserError as error:
            refused = True
            if "\n" in str(error):
                faults.append(f"an error of several lines: {error!s:.200}")
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            faults.append(f"{type(error).__name__} at {place}: {error!s:.300}")
    seconds = time.monotonic() - start
    faults += _damage(ground, inputs)
    if _state(WEIGHTS) != weights:
        faults.append("the package's weights were changed")
    if _peak() - peak > _MEMORY:
        faults.append(f"{(_peak() - peak) / 1e6:.1f} GB of memory")
    return Result(f"{case.kind}: {case.name}", refused, faults, seconds)


def _damage(ground: Ground, inputs: Path) -> list[str]:
    """What happened to files."""
    faults = []
    for name in INPUTS:
        path = ground.folder / name
        if not path.is_file() or _digest(path) != _digest(inputs / name):
            faults.append(f"{name} was lost or replaced")
    left = [path.name for path in ground.folder.rglob("*.tmp")]
    faults += [f"left behind: {name:.60}" for name in left]
    if ground.trace.exists():
        ground.trace.unlink()
        faults.append("code of the input was run")
    for device in ("/dev/null", "/dev/zero"):
        if not stat.S_ISCHR(os.stat(device).st_mode):
            faults.append(f"{device} was replaced")
    return faults


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _state(folder: Path) -> list[tuple[str, int, int]]:
    states = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    return [(name, one.st_size, one.st_mtime_ns) for name, one in states]


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
