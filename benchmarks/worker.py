"""The process behind one row: it says what it runs, then runs it whenever asked.

One line of JSON each way, the first one when it is ready. Needs NumPy alone: workers
run in the environments of other projects too.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np

Facts = Callable[[], Mapping[str, float | str | None]]
Enhance = Callable[[np.ndarray], Iterable[float]]
ANSWERS = "BENCH_ANSWERS"
"""Variable that names the file descriptor to which a worker writes."""
Measured = Mapping[str, Sequence[float]]
"""What one request found: seconds by what took them."""


def serve(facts: Facts, measure: Callable[[float], Measured]) -> None:
    """Answer requests until standard input ends.

    Args:
        facts: what the row says of itself. It is called when it is asked for, which is
            at the end: counting needs memory of its own.
        measure: gets seconds of audio, returns what took how long.
    """
    # Not standard output, to which libraries print.
    with open(int(os.environ[ANSWERS]), "w", encoding="utf-8") as answers:
        _write(answers, {})
        for line in sys.stdin:
            seconds = json.loads(line).get("seconds")
            if seconds is None:
                _write(answers, facts())
            else:
                _write(answers, {**measure(seconds), "peak_mib": peak_mib()})


def serve_audio(facts: Facts, rate: int, enhance: Enhance) -> None:
    """`serve` for what enhances audio.

    Args:
        facts: see `serve`.
        rate: Hz.
        enhance: gets float32 (N,), yields the seconds of each call that it makes.
    """
    serve(facts, lambda seconds: {"calls": [*enhance(signal(seconds, rate))]})


def serve_signals(rate: int, enhance: Callable[[np.ndarray], np.ndarray]) -> None:
    """Enhance the signals of ``.npy`` files in place until standard input ends.

    Args:
        rate: Hz, told first.
        enhance: float32 (N,) to (N,), aligned, from a fresh state.
    """
    with open(int(os.environ[ANSWERS]), "w", encoding="utf-8") as answers:
        _write(answers, {"rate": rate})
        for line in sys.stdin:
            path = json.loads(line)["path"]
            np.save(path, np.asarray(enhance(np.load(path)), np.float32))
            _write(answers, {})


def timed(function: Callable[[Any], object], inputs: Iterable[Any]) -> Iterator[float]:
    """Seconds of ``function(x)`` for each input."""
    for x in inputs:
        start = time.perf_counter()
        function(x)
        yield time.perf_counter() - start


def hops(samples: np.ndarray, hop: int) -> np.ndarray:
    """Whole hops of a signal: (N,) -> (N // hop, hop)."""
    return samples[: len(samples) // hop * hop].reshape(-1, hop)


def signal(seconds: float, rate: int) -> np.ndarray:
    """Noise in syllables whose level wanders by 40 dB, never silent: float32 (N,).

    Silence would be unfair to whoever computes with denormal numbers.
    """
    samples = round(seconds * rate)
    rng = np.random.default_rng(0)
    syllable = rate // 10
    knots = rng.uniform(-3, -1, samples // syllable + 2)
    level = np.interp(np.arange(samples) / syllable, np.arange(len(knots)), knots)
    return (rng.standard_normal(samples) * 10**level).astype(np.float32)


def unit_vector(dim: int) -> np.ndarray:
    """A speaker vector: float32 (dim,)."""
    vector = np.random.default_rng(1).standard_normal(dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def peak_mib() -> float | None:
    """Most memory that this process ever had, in MiB; None where /proc is missing.

    Not ``ru_maxrss``, which a child inherits from the process that started it.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next(one for one in status.splitlines() if one.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _write(file: TextIO, content: Mapping[str, Any]) -> None:
    print(json.dumps(content), file=file, flush=True)
