"""Arguments of the Python interface, of every type and value."""

from __future__ import annotations

import fractions
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from espnet_pse_kd.enhancer import PersonalizedEnhancer
from espnet_pse_kd.runtime.profile import Profile
from tools.hostile.ground import Case, Ground

VALUES: dict[str, Any] = {
    "None": None,
    "nan": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
    "-1": -1,
    "0": 0,
    "1": 1,
    "1.5": 1.5,
    "10**30": 10**30,
    "True": True,
    "text": "16000",
    "empty text": "",
    "bytes": b"16000",
    "a path": Path("me.profile"),
    "a list": [0.0, 1.0],
    "a dict": {},
    "an object": object(),
    "a fraction": fractions.Fraction(1, 3),
    "no samples": np.zeros(0, np.float32),
    "NaN samples": np.full(800, np.nan, np.float32),
    "infinite samples": np.full(800, np.inf),
    "whole numbers": np.zeros(800, np.int64),
    "complex": np.zeros(800, np.complex64),
    "text array": np.array(["x"]),
    "objects": np.array([None, 1]),
    "three axes": np.zeros((2, 2, 2), np.float32),
    "channels": np.zeros((800, 2), np.float32),
    "huge samples": np.full(800, 1e38, np.float32),
    "numpy's nan": np.float32("nan"),
    "numpy's rate": np.int64(16000),
}
"""What an argument may be by mistake."""

Call = Callable[[Ground, dict[str, Any]], Any]


def _call(ground: Ground, given: dict[str, Any]) -> None:
    known = {"wave": _wave(), "rate": 16000, "profile": ground.profile}
    output = ground.enhancer(**{**known, **given})
    assert np.isfinite(output).all()


def _enroll(ground: Ground, given: dict[str, Any]) -> None:
    ground.enhancer.enroll(**{"wave": _wave(32000), "rate": 16000, **given})


def _stream(ground: Ground, given: dict[str, Any]) -> None:
    chunk = given.pop("chunk", _wave())
    stream = ground.enhancer.stream(**{"profile": ground.profile, **given})
    stream.process(chunk)
    stream.flush()


def _recording(ground: Ground, given: dict[str, Any]) -> None:
    known = {"profile": ground.profile, "sample_rate": 16000}
    recording = ground.enhancer.recording(**{**known, **given})
    channels = given.get("channels", 1)
    list(recording.enhance([np.zeros((800, channels), np.float32)]))


def _load(ground: Ground, given: dict[str, Any]) -> None:
    PersonalizedEnhancer.from_pretrained(**given)


def _profile(ground: Ground, given: dict[str, Any]) -> None:
    Profile.load(**given)


CALLS: dict[str, tuple[Call, tuple[str, ...]]] = {
    "enhancer()": (
        _call,
        ("wave", "rate", "profile", "attenuation_limit_db", "look_ahead"),
    ),
    "enroll()": (_enroll, ("wave", "rate")),
    "stream()": (
        _stream,
        ("chunk", "profile", "sample_rate", "attenuation_limit_db"),
    ),
    "recording()": (
        _recording,
        ("profile", "sample_rate", "channels", "attenuation_limit_db"),
    ),
    "from_pretrained()": (_load, ("source", "threads")),
    "Profile.load()": (_profile, ("path",)),
}


def _wave(samples: int = 800) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)


def cases() -> Iterator[Case]:
    """All of this module."""
    for name, (call, arguments) in CALLS.items():
        for argument in arguments:
            for text, value in VALUES.items():
                yield _case(f"{name}: {argument} is {text}", call, {argument: value})
    both = {"wave": np.full(800, np.nan), "look_ahead": True}
    yield _case("enhancer(): NaN, looking ahead", _call, both)


def _case(name: str, call: Call, given: dict[str, Any]) -> Case:
    def run(ground: Ground) -> None:
        call(ground, dict(given))

    return Case("argument", name, run)
