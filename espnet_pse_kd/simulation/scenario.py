"""What is drawn for a sample: scenario, speakers, stretches, room, ratios, pauses.

Everything follows from (seed, group of sets, index), so that any sample can be made
alone and in any order. Scenarios, ranges and constructions: docs/method.md, 4 and 5.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.errors import UserError
from espnet_pse_kd.simulation.enrolment import Clip, admissible
from espnet_pse_kd.simulation.mixing import equalizer
from espnet_pse_kd.simulation.split import Inventory, Piece, Source
from espnet_pse_kd.simulation.voices import Voice

SCENARIOS = ("ts0", "ts1", "ts2", "ts3")
CONSTRUCTIONS = ("drop_target", "swap_enrolment", "partial")


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
        snr, sir: dB, see `mixing.mixing_gains`.
        level: dBFS of the mixture (mean power over the whole signal).
        pause_share: share of samples in which the target pauses.
        pause_seconds: length of the pause.
        measured_share: share of samples in measured rooms, where there are any.
        dry_share: share of the training split's samples without any room: then no
            distance tells target and interferer apart.
        target: ``full`` or ``early`` (50 ms) room response in the target image.
        clips_per_speaker: enrolment clips per speaker, at least 2.
        clip_seconds: length of an enrolment clip.
        clip_snr: dB of its noise. clip_level: its dBFS.
        clip_room_share: share of the clips that are reverberated.
    """

    seconds: float = 4.0
    speeds: tuple[float, ...] = field(default=(0.9, 1.0, 1.1), metadata={"nargs": "+"})
    formants: tuple[float, ...] = field(default=(1.0,), metadata={"nargs": "+"})
    noise_speed: tuple[float, float] = (1.0, 1.0)
    second_noise: float = 0.0
    equalizer: float = 0.0
    test_seconds: tuple[float, float] = (3.0, 10.0)
    ts0: float = 0.05
    ts1: float = 0.25
    ts2: float = 0.45
    its: float = 0.25
    drop_target: float = 1.0
    swap_enrolment: float = 0.0
    partial: float = 0.0
    partial_seconds: tuple[float, float] = (2.0, 3.0)
    snr: tuple[float, float] = (0.0, 15.0)
    sir: tuple[float, float] = (-5.0, 10.0)
    level: tuple[float, float] = (-40.0, -15.0)
    pause_share: float = 0.4
    pause_seconds: tuple[float, float] = (1.0, 3.0)
    measured_share: float = 0.2
    dry_share: float = 0.0
    target: str = "full"
    clips_per_speaker: int = 6
    clip_seconds: tuple[float, float] = (3.0, 8.0)
    clip_snr: tuple[float, float] = (15.0, 30.0)
    clip_level: tuple[float, float] = (-35.0, -18.0)
    clip_room_share: float = 0.8

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
        shares = ("pause_share", "measured_share", "dry_share", "clip_room_share")
        for name in (*shares, "second_noise"):
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


@dataclass(frozen=True)
class NoisePart:
    """A stretch of a noise: its key, where it starts (0..1), speed, dB of its level."""

    noise: str
    at: float
    speed: float = 1.0
    level: float = 0.0


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


def generator(seed: int, group: str, index: int) -> np.random.Generator:
    """The random generator of one sample."""
    return np.random.default_rng([seed, zlib.crc32(group.encode()), index])


def _pick[T](rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def _uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(rng.uniform(*bounds))


def _share(rng: np.random.Generator, shares: dict[str, float]) -> str:
    edges = np.cumsum(list(shares.values()))
    index = np.searchsorted(edges, rng.uniform(0, edges[-1]), side="right")
    return list(shares)[min(int(index), len(shares) - 1)]


def _length(rng: np.random.Generator, bounds: tuple[float, float]) -> int:
    return round(_uniform(rng, bounds) * SAMPLE_RATE)


def _augmented(
    rng: np.random.Generator,
    inventory: Inventory,
    options: SimulationOptions,
    trial: Trial,
) -> Trial:
    """Vary noises and channels, so that few recordings go a longer way.

    Draws from a generator of its own: what else is drawn stays the same.
    """
    speeds = [_uniform(rng, options.noise_speed) for _ in range(2)]
    first = replace(trial.noises[0], speed=speeds[0])
    other, at = _pick(rng, inventory.noise_ids), float(rng.uniform())
    second = NoisePart(other, at, speeds[1], -float(rng.uniform(0.0, 10.0)))
    noises = (first, second) if rng.uniform() < options.second_noise else (first,)
    spread = options.equalizer
    colours = tuple(equalizer(rng, spread) for _ in range(3)) if spread else ()
    trial = replace(trial, noises=noises, equalizers=colours)
    if rng.uniform() < options.dry_share:
        return replace(trial, room="dry", responses=())
    return trial


def _draw_interferer(
    rng: np.random.Generator,
    inventory: Inventory,
    target: str,
    same_gender: bool | None,
) -> str:
    persons = inventory.persons
    others = [n for n in inventory.speakers if persons[n] != persons[target]]
    gender = inventory.genders.get(target)
    if same_gender is not None and gender:
        genders = inventory.genders
        wanted = [
            name
            for name in others
            if name in genders and (genders[name] == gender) == same_gender
        ]
        others = wanted or others
    return _pick(rng, others)


def _draw_interference(
    rng: np.random.Generator, inventory: Inventory, speaker: str, samples: int
) -> tuple[list[Piece], int]:
    """Pieces of a speaker that fill a sample, and where they start.

    A speaker with too little speech for it is not repeated: he starts anywhere.
    """
    utts = inventory.utts[speaker]
    first = int(rng.integers(len(utts)))
    pieces: list[Piece] = []
    for step in range(len(utts)):
        utt = utts[(first + step) % len(utts)]
        pieces.append(Piece(utt, 0, inventory.samples[utt]))
        if sum(piece.frames for piece in pieces) >= samples:
            break
    whole = Source("", speaker, tuple(pieces))
    slack = whole.samples - samples
    start = int(rng.integers(abs(slack) + 1))
    if slack >= 0:
        return whole.cut(start, samples), 0
    return pieces, start


def _draw_room(
    rng: np.random.Generator, inventory: Inventory, measured_share: float
) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Room id, and (path, channel) of the responses of target, interferer and noise.

    Measured responses of target and interferer come from one room; where it has only
    one response, both use it. Noises keep the acoustics they were recorded in there.
    """
    measured = rng.uniform() < measured_share
    if inventory.measured and (measured or not inventory.rooms):
        room = _pick(rng, inventory.measured_rooms)
        order = rng.permutation(len(room))[:2]
        ids = [room[int(k)] for k in order]
        paths = tuple((inventory.measured[rid], 0) for rid in (ids[0], ids[-1]))
        return "measured:" + ",".join(ids), paths
    rid = _pick(rng, inventory.room_ids)
    return rid, tuple((inventory.rooms[rid], channel) for channel in range(3))


def _transcript(inventory: Inventory, pieces: list[Piece]) -> str:
    """The words of the pieces, if all are whole utterances with a transcript."""
    whole = all(p.frames == inventory.samples[p.utt] for p in pieces)
    texts = [inventory.texts.get(p.utt, "") for p in pieces]
    return " ".join(texts) if whole and all(texts) else ""


def _speech(
    rng: np.random.Generator, source: Source, samples: int
) -> tuple[list[Piece], int]:
    """A stretch of at most ``samples`` of a source, and where in them it starts."""
    slack = source.samples - samples
    start = int(rng.integers(abs(slack) + 1))
    if slack >= 0:
        return source.cut(start, samples), 0
    return list(source.pieces), start


def _scored_source(
    rng: np.random.Generator, sources: list[Source], longest: float
) -> Source:
    """A source of a scored sample, one that fits whole where there is one."""
    fitting = [s for s in sources if s.samples <= longest * SAMPLE_RATE]
    return _pick(rng, fitting or sources)


def draw_training(
    inventory: Inventory,
    clips: dict[str, list[Clip]],
    options: SimulationOptions,
    seed: int,
    set_name: str,
    index: int,
) -> Trial:
    """Draw sample ``index`` of a training or development set.

    In the development set the enrolment is fixed; in training it is drawn anew in
    every epoch, which ``*SOURCE SPK`` asks for.
    """
    rng = generator(seed, set_name, index)
    o = options
    kind = _share(rng, {"ts0": o.ts0, "ts1": o.ts1, "ts2": o.ts2, "its": o.its})
    construction = _share(rng, {name: getattr(o, name) for name in CONSTRUCTIONS})
    speaker = _pick(rng, inventory.targets)
    source = _pick(rng, inventory.sources[speaker])
    trial = _draw(
        rng,
        inventory,
        o,
        f"{set_name}_{index:06d}",
        source,
        None,
        round(o.seconds * SAMPLE_RATE),
    )
    if set_name == "train":
        augmenting = generator(seed, f"{set_name}_augmentation", index)
        trial = _augmented(augmenting, inventory, o, trial)
    clip = _pick(rng, admissible(clips, speaker, source.sid))
    persons = inventory.persons
    present = (persons[speaker], persons[trial.interferer])
    absent = [name for name in inventory.targets if persons[name] not in present]
    other = _pick(rng, absent)
    other_clip = _pick(rng, clips[other])
    gap = _length(rng, o.partial_seconds)
    gap_at = int(rng.integers(trial.samples - gap + 1))
    fixed = set_name != "train"
    trial = replace(
        trial,
        index=index,
        scenario=kind,
        enroll_id=clip.cid if fixed else f"*{source.sid} {speaker}",
        enroll_clip=clip.cid,
    )
    if kind != "its":
        return trial
    trial = replace(
        trial,
        scenario="partial" if construction == "partial" else "ts3",
        its=construction,
        twin_enroll_id=trial.enroll_id,
        twin_enroll_clip=trial.enroll_clip,
    )
    if construction == "partial":
        return replace(trial, gap=gap, gap_at=gap_at)
    if construction == "swap_enrolment":
        return replace(
            trial,
            target=other,
            enroll_id=other_clip.cid if fixed else f"*{source.sid} {other}",
            enroll_clip=other_clip.cid,
        )
    return trial


def draw_scored(
    inventory: Inventory,
    clips: dict[str, list[Clip]],
    options: SimulationOptions,
    seed: int,
    set_name: str,
    index: int,
) -> Trial:
    """Draw trial ``index`` of a scored set ``GROUP_tsK``.

    Trials with the same index share everything but the scenario in the four sets of
    a group. They go round all speakers, and change between an interferer of the
    same and of the other sex, so that both are balanced within a speaker as well.
    """
    group, scenario = set_name.rsplit("_", 1)
    rng = generator(seed, f"{group}_ts", index)
    order = generator(seed, f"{group}_order", 0).permutation(len(inventory.targets))
    turn, position = divmod(index, len(order))
    speaker = inventory.targets[order[position]]
    shortest, longest = options.test_seconds
    source = _scored_source(rng, inventory.sources[speaker], longest - 0.5)
    margin = round(0.5 * SAMPLE_RATE)
    samples = min(
        max(source.samples + margin, round(shortest * SAMPLE_RATE)),
        round(longest * SAMPLE_RATE),
    )
    trial = _draw(
        rng,
        inventory,
        options,
        f"{set_name}_{index:05d}",
        source,
        (turn + position) % 2 == 0,
        samples,
        lengthen=True,
    )
    clip = _pick(rng, admissible(clips, speaker, source.sid))
    return replace(
        trial, index=index, scenario=scenario, enroll_id=clip.cid, enroll_clip=clip.cid
    )


def _draw(
    rng: np.random.Generator,
    inventory: Inventory,
    options: SimulationOptions,
    uid: str,
    source: Source,
    same_gender: bool | None,
    samples: int,
    lengthen: bool = False,
) -> Trial:
    """Draw what training and scored samples share.

    A pause takes its time from the speech, or, with ``lengthen``, lengthens the sample.
    """
    pause = _length(rng, options.pause_seconds)
    if rng.uniform() >= options.pause_share:
        pause = 0
    pause_at = float(rng.uniform(0.15, 0.85))
    room = samples if lengthen else samples - pause
    speech, speech_at = _speech(rng, source, room)
    samples += pause if lengthen else 0
    interferer = _draw_interferer(rng, inventory, source.speaker, same_gender)
    interference, interference_at = _draw_interference(
        rng, inventory, interferer, samples
    )
    rid, responses = _draw_room(rng, inventory, options.measured_share)
    genders = inventory.genders
    known = source.speaker in genders and interferer in genders
    return Trial(
        uid=uid,
        scenario="",
        its="",
        index=0,
        samples=samples,
        target=source.speaker,
        speaker=source.speaker,
        source=source.sid,
        speech=speech,
        speech_at=speech_at,
        pause_at=pause_at,
        pause=pause,
        gap_at=0,
        gap=0,
        interferer=interferer,
        interference=interference,
        interference_at=interference_at,
        noises=(NoisePart(_pick(rng, inventory.noise_ids), float(rng.uniform())),),
        room=rid,
        responses=responses,
        equalizers=(),
        snr=_uniform(rng, options.snr),
        sir=_uniform(rng, options.sir),
        level=_uniform(rng, options.level),
        enroll_id="",
        enroll_clip="",
        twin_enroll_id="",
        twin_enroll_clip="",
        text=_transcript(inventory, speech),
        same_gender=genders[source.speaker] == genders[interferer] if known else None,
    )
