"""What one sample is made of, drawn but not yet rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from espnet_pse_kd.simulation.channels import Codec
from espnet_pse_kd.simulation.split import Piece

Member = Literal["", "target", "interferer", "absent"]
"""Who is enrolled in a sample of a paired group; empty for a sample of its own."""


@dataclass(frozen=True)
class NoisePart:
    """A stretch of a noise.

    Attributes:
        noise: key of a recording; ``*babble`` or ``*shaped`` for one that is made.
        at: where it starts, 0 to 1; of a made one, its seed.
        speed: how fast it is played.
        level: dB relative to the first of a sample's noises.
        voices: speech of each talker of a babble.
    """

    noise: str
    at: float
    speed: float = 1.0
    level: float = 0.0
    voices: tuple[tuple[Piece, ...], ...] = ()


@dataclass(frozen=True)
class Interference:
    """A further interferer.

    Attributes:
        speaker: who speaks.
        pieces, at: the speech, and where it starts.
        response: (path, channel) of the room response, None for a dry sample.
        level: dB relative to the first interferer.
    """

    speaker: str
    pieces: list[Piece]
    at: int
    response: tuple[str, int] | None
    level: float


@dataclass(frozen=True)
class Transient:
    """A short loud sound: where it is (sample), its kind, seed, and peak.

    Attributes:
        level: dB of the peak relative to the rms of the mixture.
    """

    at: int
    kind: str
    seed: int
    level: float


@dataclass(frozen=True)
class Trial:
    """One sample, drawn but not yet rendered. Positions and lengths are in samples.

    Attributes:
        its: ITS construction, empty for an ordinary sample.
        target: enrolled speaker. speaker: whose voice is in the target image or its
            twin; another one only in `swap_enrolment`.
        source: where the target's speech comes from.
        speech, speech_at: the target's pieces, and where they start.
        pause_at: where in the speech (0..1) the pause is, before it moves to a quiet
            spot; pause: its length, 0 for none.
        gap_at, gap: silenced stretch of a `partial` sample.
        interference, interference_at: likewise for the interferer.
        responses: of target, interferer and, where not recorded, noise; () for a dry
            sample.
        noises: stretches that make up the noise, levels relative to each other.
        equalizers: `mixing.equalizer` of target, interferer and noise, () for none.
        enroll_id, enroll_clip: line of ``enroll_id``, and one admissible clip.
        twin_enroll_id, twin_enroll_clip: the same for the twin with the target.
        text: transcript where the whole utterance is in the sample.
        member: place in a paired group.
        interference_source: source of the interferer's speech, in a paired group.
        more: further interferers.
        target_turn, interferer_turn: (first sample, samples) outside of which the
            voice is silent; () for none.
        transients: short loud sounds.
        telephone: whether the mixture comes through a telephone.
        codec: what the mixture is coded with, None for nothing.
        absences: (first sample, samples) of stretches without the target.
    """

    uid: str
    scenario: str
    its: str
    index: int
    samples: int
    target: str
    speaker: str
    source: str
    speech: list[Piece]
    speech_at: int
    pause_at: float
    pause: int
    gap_at: int
    gap: int
    interferer: str
    interference: list[Piece]
    interference_at: int
    noises: tuple[NoisePart, ...]
    room: str
    responses: tuple[tuple[str, int], ...]
    equalizers: tuple[np.ndarray, ...]
    snr: float
    sir: float
    level: float
    enroll_id: str
    enroll_clip: str
    twin_enroll_id: str
    twin_enroll_clip: str
    text: str
    same_gender: bool | None
    member: Member = ""
    interference_source: str = ""
    more: tuple[Interference, ...] = ()
    target_turn: tuple[int, ...] = ()
    interferer_turn: tuple[int, ...] = ()
    transients: tuple[Transient, ...] = ()
    telephone: bool = False
    codec: Codec | None = None
    absences: tuple[tuple[int, int], ...] = ()

    @property
    def has_target(self) -> bool:
        """Whether the enrolled speaker speaks."""
        return self.scenario != "ts3"

    @property
    def has_interferer(self) -> bool:
        return self.scenario in ("ts2", "ts3", "partial")

    @property
    def has_noise(self) -> bool:
        return self.scenario != "ts0"
