"""What every case gets: a model, a voice, recordings, and odd things beside them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from espnet_pse_kd.enhancer import PersonalizedEnhancer
from espnet_pse_kd.runtime.profile import Profile

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
INPUTS = ("a.wav", "b.wav", "me.wav", "me.profile", "text.wav")
"""Files that no case may change."""


class Ground(NamedTuple):
    """The world of one case.

    Attributes:
        folder: the current folder; a new one for each case.
        enhancer: of the package's model.
        profile: of the voice in ``me.wav``.
        trace: a file that exists as soon as code of an input was run.
    """

    folder: Path
    enhancer: PersonalizedEnhancer
    profile: Profile
    trace: Path


class Case(NamedTuple):
    """One hostile input.

    Attributes:
        kind: way in.
        name: what is hostile about it.
        run: does it; a `UserError` refuses it, and anything else is a fault.
    """

    kind: str
    name: str
    run: Callable[[Ground], None]


def make_inputs(folder: Path) -> tuple[PersonalizedEnhancer, Profile]:
    """Write `INPUTS`, and load what uses them."""
    folder.mkdir(parents=True, exist_ok=True)
    mixture, rate = soundfile.read(GOLDEN / "mixture.flac", dtype="float32")
    voice, _ = soundfile.read(GOLDEN / "enrolment.flac", dtype="float32")
    soundfile.write(folder / "a.wav", mixture[:rate], rate)
    soundfile.write(folder / "b.wav", mixture[rate : rate + rate // 2], rate)
    soundfile.write(folder / "me.wav", voice, rate)
    (folder / "text.wav").write_text("no sound\n" * 9)
    enhancer = PersonalizedEnhancer.from_pretrained()
    profile = enhancer.enroll(np.asarray(voice), rate)
    profile.save(folder / "me.profile")
    return enhancer, profile


def lay_out(inputs: Path, folder: Path) -> None:
    """Fill the folder of a case."""
    folder.mkdir()
    for name in INPUTS:
        shutil.copy(inputs / name, folder / name)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "fifo.wav")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "link.wav").symlink_to("a.wav")
    (folder / "empty.wav").touch()
