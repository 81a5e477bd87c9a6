"""Options of the simulation: ranges and shares, with their defaults and checks."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.voices import Voice

SCENARIOS = ("ts0", "ts1", "ts2", "ts3")
CONSTRUCTIONS = ("drop_target", "swap_enrolment", "partial")


_SHARES = (
    "pause_share",
    "measured_share",
    "dry_share",
    "second_noise",
    "same_sex",
    "paired",
    "further_interferers",
    "turns",
    "short",
    "swapped_distances",
    "transients",
    "noise_free",
    "babble",
    "shaped_noise",
    "telephone",
    "codec",
    "long_absence",
    "interruptions",
    "clip_room_share",
    "train_clip_room_share",
    "clip_telephone",
    "clip_codec",
)


@dataclass(frozen=True)
class SimulationOptions:
    """Ranges and shares of the simulation. Pairs are (low, high), drawn uniformly.

    Attributes:
        seconds: length of training and development samples.
        speeds: speeds at which the training split's speech is played. formants:
            ratios by which its formants move besides. Every person is one speaker
            per pair of them: few voices are soon learnt by heart.
        noise_speed: speeds at which the training split's noise is played: few
            noises are learnt by heart as well.
        second_noise: share of the training split's noisy samples in which another
            noise joins the first, up to 10 dB below it.
        equalizer: dB by which random equalizers colour each sound of the training
            split, see `mixing.equalizer`. The target's belongs to its image.
        test_seconds: shortest and longest scored sample.
        ts0, ts1, ts2, its: shares of the training mix (scaled to add up to 1).
        drop_target, swap_enrolment, partial: shares of the ITS constructions.
        partial_seconds: how long the target is silent in a `partial` sample.
        snr, sir: dB of development and test samples, see `mixing.mixing_gains`.
        train_snr, train_sir: dB of training samples. An SIR that is not symmetric
            about 0 teaches that the louder voice is the target.
        same_sex: share of the training pairs of target and interferer of one sex.
        paired: share of the training samples that come as groups from one mixture:
            one enrolls the first voice, one the second, and in half of the groups
            one a third person, who is absent. Only the enrolment tells what to do.
        further_interferers: chance of a second, then of a third interferer.
        turns: share of the samples with interferers in which voices take turns,
            overlapping by 0 to 100 %.
        short: share of the samples whose target says only ``short_seconds``.
        swapped_distances: share of the simulated rooms in which the interferer is
            near and the target far.
        transients: share of the samples with knocks, keys, doors and clicks.
        transient_level: dB of their peak relative to the rms of the mixture.
        noise_free: share of the samples with interferers that have no noise.
        babble, shaped_noise: shares of the noises that are made of the training
            speakers' voices, or of noise of a random spectrum.
        telephone: share of the mixtures that come through a telephone (300 to
            3400 Hz, mu-law).
        codec: share of the training mixtures that come through MP3 or Opus.
        long_absence: share of the training samples whose target is absent for
            ``absence_seconds``, whatever else is in them: for long samples.
        interruptions: share of the training samples whose target falls silent once
            to three times, each for ``interruption_seconds``.
        level: dBFS of the mixture (mean power over the whole signal).
        pause_share: share of samples in which the target pauses.
        pause_seconds: length of the pause.
        measured_share: share of samples in measured rooms, where there are any.
        dry_share: share of the training split's samples without any room: then no
            distance tells target and interferer apart.
        target: ``full`` or ``early`` (50 ms) room response in the target image.
        clips_per_speaker: enrolment clips per speaker, at least 2.
        clip_seconds: length of an enrolment clip.
        clip_snr: dB of its noise. clip_level: its dBFS. clip_room_share: share of the
            clips that are reverberated. All of development and test speakers' clips.
        train_clip_snr, train_clip_room_share: the same of training clips. A speaker
            encoder knows few voices again through heavy channels: docs/training.md.
        clip_telephone: share of the training clips that come through a telephone.
        clip_codec: share of the training clips that come through MP3 or Opus.
    """

    seconds: float = 4.0
    speeds: tuple[float, ...] = field(default=(0.9, 1.0, 1.1), metadata={"nargs": "+"})
    formants: tuple[float, ...] = field(default=(1.0,), metadata={"nargs": "+"})
    noise_speed: tuple[float, float] = (1.0, 1.0)
    second_noise: float = 0.0
    equalizer: float = 0.0
    test_seconds: tuple[float, float] = (3.0, 10.0)
    ts0: float = 0.05
    ts1: float = 0.35
    ts2: float = 0.35
    its: float = 0.25
    drop_target: float = 1.0
    swap_enrolment: float = 0.0
    partial: float = 0.0
    partial_seconds: tuple[float, float] = (2.0, 3.0)
    snr: tuple[float, float] = (0.0, 15.0)
    sir: tuple[float, float] = (-5.0, 10.0)
    train_snr: tuple[float, float] = (-5.0, 20.0)
    train_sir: tuple[float, float] = (-10.0, 10.0)
    same_sex: float = 0.5
    paired: float = 0.5
    further_interferers: float = 0.15
    turns: float = 0.25
    short: float = 0.05
    short_seconds: tuple[float, float] = (0.3, 1.0)
    swapped_distances: float = 0.3
    transients: float = 0.2
    transient_level: tuple[float, float] = (5.0, 40.0)
    noise_free: float = 0.3
    babble: float = 0.1
    shaped_noise: float = 0.15
    telephone: float = 0.05
    codec: float = 0.0
    long_absence: float = 0.0
    absence_seconds: tuple[float, float] = (8.0, 16.0)
    interruptions: float = 0.0
    interruption_seconds: tuple[float, float] = (0.5, 2.0)
    level: tuple[float, float] = (-40.0, -15.0)
    pause_share: float = 0.4
    pause_seconds: tuple[float, float] = (1.0, 3.0)
    measured_share: float = 0.2
    dry_share: float = 0.0
    target: str = "full"
    clips_per_speaker: int = 8
    clip_seconds: tuple[float, float] = (3.0, 8.0)
    clip_snr: tuple[float, float] = (15.0, 30.0)
    clip_level: tuple[float, float] = (-35.0, -18.0)
    clip_room_share: float = 0.8
    train_clip_snr: tuple[float, float] = (25.0, 45.0)
    train_clip_room_share: float = 0.15
    clip_telephone: float = 0.1
    clip_codec: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, tuple) and list(value) != sorted(value):
                given = " ".join(map(str, value))
                raise UserError(f"--{name} {given}: give low before high")
        for name in ("speeds", "formants"):
            if not all(0.5 <= ratio <= 2 for ratio in getattr(self, name)):
                given = " ".join(map(str, getattr(self, name)))
                raise UserError(f"--{name} {given}: give ratios from 0.5 to 2")
        if not 0.5 <= self.noise_speed[0] <= self.noise_speed[1] <= 2:
            given = " ".join(map(str, self.noise_speed))
            raise UserError(f"--noise_speed {given}: give two speeds from 0.5 to 2")
        if not 0 <= self.equalizer <= 20:
            raise UserError(f"--equalizer {self.equalizer}: give 0 to 20 dB")
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"--{name} {getattr(self, name)}: give 0 to 1")
        for names in (("ts0", "ts1", "ts2", "its"), CONSTRUCTIONS):
            values = [getattr(self, name) for name in names]
            if min(values) < 0 or sum(values) <= 0:
                raise UserError(
                    f"--{' --'.join(names)}: {values}, give shares of at least 0, "
                    "one of them above 0"
                )
        if self.target not in ("full", "early"):
            raise UserError(f"--target {self.target}: choose full or early")
        if self.clips_per_speaker < 2:
            raise UserError(
                f"--clips_per_speaker {self.clips_per_speaker}: give at least 2, so "
                "that every sample finds a clip from another recording"
            )
        if self.long_absence and self.seconds < self.absence_seconds[1] + 2:
            raise UserError(
                f"--seconds {self.seconds}: too short for --long_absence with absences "
                f"of {self.absence_seconds[1]} s; give at least "
                f"{self.absence_seconds[1] + 2}"
            )
        longest = max(self.pause_seconds[1], self.partial_seconds[1])
        if min(self.seconds, self.test_seconds[0] + longest) < longest + 0.5:
            raise UserError(
                f"--seconds {self.seconds}: too short for pauses of {longest} s; "
                "lengthen it or lower --pause_seconds and --partial_seconds"
            )

    @property
    def voices(self) -> tuple[Voice, ...]:
        """The voices of the training split."""
        pairs = itertools.product(self.speeds, self.formants)
        return tuple(Voice(speed, formants) for speed, formants in pairs)

    def only(self, construction: str) -> SimulationOptions:
        """The same, but with all ITS samples made by one of `CONSTRUCTIONS`."""
        shares: dict[str, Any] = dict.fromkeys(CONSTRUCTIONS, 0.0)
        return replace(self, **shares | {construction: 1.0})
