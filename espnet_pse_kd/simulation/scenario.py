"""What is drawn for a sample: scenario, speakers, stretches, room, ratios, pauses.

Everything follows from (seed, group of sets, index), so that any sample can be made
alone and in any order. Scenarios, ranges and constructions: docs/method.md, 4 and 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE
from espnet_pse_kd.simulation.blocks import place_of
from espnet_pse_kd.simulation.draws import (
    by_share,
    chance,
    generator,
    length,
    pick,
    uniform,
)
from espnet_pse_kd.simulation.enrolment import Clip, admissible
from espnet_pse_kd.simulation.options import CONSTRUCTIONS, SimulationOptions
from espnet_pse_kd.simulation.split import Inventory, Piece, Source
from espnet_pse_kd.simulation.trial import NoisePart, Trial
from espnet_pse_kd.simulation.variation import (
    draw_interference,
    shorten,
    vary,
)


def _draw_interferer(
    rng: np.random.Generator,
    inventory: Inventory,
    target: str,
    same_gender: bool | None,
) -> str:
    """Somebody else, of the same or the other sex if that is asked for and known."""
    gender = inventory.genders.get(target)
    if same_gender is None or gender is None:
        return inventory.draw_speaker(rng, [target])
    other = {"m": "f", "f": "m"}[gender]
    return inventory.draw_speaker(rng, [target], gender if same_gender else other)


def _draw_room(
    rng: np.random.Generator, inventory: Inventory, measured_share: float
) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Room id, and (path, channel) of the responses of target, interferer and noise.

    Measured responses of target and interferer come from one room; where it has only
    one response, both use it. Noises keep the acoustics they were recorded in there.
    """
    measured = rng.uniform() < measured_share
    if inventory.measured and (measured or not inventory.rooms):
        room = pick(rng, inventory.measured_rooms)
        order = rng.permutation(len(room))[:2]
        ids = [room[int(k)] for k in order]
        paths = tuple((inventory.measured[rid], 0) for rid in (ids[0], ids[-1]))
        return "measured:" + ",".join(ids), paths
    rid = pick(rng, inventory.room_ids)
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
    return pick(rng, fitting or sources)


def draw_training(
    inventory: Inventory,
    clips: Mapping[str, list[Clip]],
    options: SimulationOptions,
    seed: int,
    set_name: str,
    index: int,
) -> Trial:
    """Draw sample ``index`` of the training set.

    Scenarios are stratified and some samples come in groups, see `blocks`; all of a
    group are drawn from the index of its first. The enrolment is drawn anew in every
    epoch, which ``*SOURCE SPK`` asks for.
    """
    place = place_of(options, seed, set_name, index)
    rng = generator(seed, set_name, place.first)
    speaker = inventory.draw_speaker(rng, target=True)
    source = pick(rng, inventory.sources[speaker])
    samples = round(options.seconds * SAMPLE_RATE)
    same_sex = chance(rng, options.same_sex)
    uid = f"{set_name}_{index:06d}"
    trial = _draw(rng, inventory, options, uid, source, same_sex, samples, train=True)
    trial = replace(trial, index=place.first, member=place.member)
    if place.member:
        trial = _admit_interferer(rng, inventory, trial)
    else:
        trial = shorten(rng, options, trial)
    trial = vary(inventory, options, seed, trial)
    clip = pick(rng, admissible(clips, speaker, source.sid))
    trial = replace(
        trial,
        scenario=place.scenario,
        enroll_id=f"*{source.sid} {speaker}",
        enroll_clip=clip.cid,
    )
    if place.scenario != "ts1" and chance(rng, options.noise_free):
        trial = replace(trial, snr=math.inf)
    other = _absent(rng, inventory, trial)
    if place.member:
        return _enrolled(rng, clips, replace(trial, index=index), other)
    if place.scenario == "its":
        construction = by_share(rng, {n: getattr(options, n) for n in CONSTRUCTIONS})
        return _inactive(rng, clips, options, trial, construction, other)
    return trial


def _admit_interferer(
    rng: np.random.Generator, inventory: Inventory, trial: Trial
) -> Trial:
    """Take an interferer who can be enrolled, and his speech from one source."""
    known = trial.same_gender is not None
    wanted = inventory.genders[trial.interferer] if known else ""
    speaker = inventory.draw_speaker(rng, [trial.speaker], wanted, target=True)
    source = pick(rng, inventory.sources[speaker])
    speech, at = _speech(rng, source, trial.samples)
    return replace(
        trial,
        interferer=speaker,
        interference=speech,
        interference_at=at,
        interference_source=source.sid,
    )


def _absent(rng: np.random.Generator, inventory: Inventory, trial: Trial) -> str:
    """Somebody who is not in the mixture but can be enrolled."""
    speakers = [trial.speaker, trial.interferer, *(one.speaker for one in trial.more)]
    return inventory.draw_speaker(rng, speakers, target=True)


def _enrolled(
    rng: np.random.Generator, clips: Mapping[str, list[Clip]], trial: Trial, other: str
) -> Trial:
    """The sample of a group that enrolls the place's person."""
    if trial.member == "target":
        return trial
    if trial.member == "interferer":
        speaker, source = trial.interferer, trial.interference_source
        clip = pick(rng, admissible(clips, speaker, source))
        return replace(
            trial,
            target=speaker,
            enroll_id=f"*{source} {speaker}",
            enroll_clip=clip.cid,
            text="",
        )
    return _swapped(trial, clips, rng, other)


def _swapped(
    trial: Trial, clips: Mapping[str, list[Clip]], rng: np.random.Generator, other: str
) -> Trial:
    """Enroll somebody who is not in the mixture."""
    return replace(
        trial,
        scenario="ts3",
        its="swap_enrolment",
        target=other,
        enroll_id=f"*{trial.source} {other}",
        enroll_clip=pick(rng, clips[other]).cid,
        twin_enroll_id=trial.enroll_id,
        twin_enroll_clip=trial.enroll_clip,
    )


def _inactive(
    rng: np.random.Generator,
    clips: Mapping[str, list[Clip]],
    options: SimulationOptions,
    trial: Trial,
    construction: str,
    other: str,
) -> Trial:
    """An inactive-target sample of one of `CONSTRUCTIONS`."""
    if construction == "swap_enrolment":
        return _swapped(trial, clips, rng, other)
    gap = length(rng, options.partial_seconds)
    partial = construction == "partial"
    return replace(
        trial,
        scenario="partial" if partial else "ts3",
        its=construction,
        twin_enroll_id=trial.enroll_id,
        twin_enroll_clip=trial.enroll_clip,
        gap=gap if partial else 0,
        gap_at=int(rng.integers(trial.samples - gap + 1)) if partial else 0,
    )


def draw_development(
    inventory: Inventory,
    clips: Mapping[str, list[Clip]],
    options: SimulationOptions,
    seed: int,
    set_name: str,
    index: int,
) -> Trial:
    """Draw sample ``index`` of the development set, whose enrolment is fixed."""
    rng = generator(seed, set_name, index)
    shares = {name: getattr(options, name) for name in ("ts0", "ts1", "ts2", "its")}
    kind = by_share(rng, shares)
    construction = by_share(
        rng, {name: getattr(options, name) for name in CONSTRUCTIONS}
    )
    speaker = inventory.draw_speaker(rng, target=True)
    source = pick(rng, inventory.sources[speaker])
    samples = round(options.seconds * SAMPLE_RATE)
    uid = f"{set_name}_{index:06d}"
    trial = _draw(rng, inventory, options, uid, source, None, samples)
    clip = pick(rng, admissible(clips, speaker, source.sid))
    trial = replace(
        trial, index=index, scenario=kind, enroll_id=clip.cid, enroll_clip=clip.cid
    )
    if kind != "its":
        return trial
    other = _absent(rng, inventory, trial)
    trial = _inactive(rng, clips, options, trial, construction, other)
    return replace(trial, enroll_id=trial.enroll_clip)


def draw_scored(
    inventory: Inventory,
    clips: Mapping[str, list[Clip]],
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
    clip = pick(rng, admissible(clips, speaker, source.sid))
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
    train: bool = False,
) -> Trial:
    """Draw what training and scored samples share.

    A pause takes its time from the speech, or, with ``lengthen``, lengthens the sample.
    Training samples have ratios of their own.
    """
    pause = length(rng, options.pause_seconds)
    if rng.uniform() >= options.pause_share:
        pause = 0
    pause_at = float(rng.uniform(0.15, 0.85))
    room = samples if lengthen else samples - pause
    speech, speech_at = _speech(rng, source, room)
    samples += pause if lengthen else 0
    same = bool(same_gender) if train else same_gender
    other = _draw_interferer(rng, inventory, source.speaker, same)
    interference, interference_at = draw_interference(rng, inventory, other, samples)
    rid, responses = _draw_room(rng, inventory, options.measured_share)
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
        interferer=other,
        interference=interference,
        interference_at=interference_at,
        noises=(NoisePart(pick(rng, inventory.noise_ids), float(rng.uniform())),),
        room=rid,
        responses=responses,
        equalizers=(),
        snr=uniform(rng, options.train_snr if train else options.snr),
        sir=uniform(rng, options.train_sir if train else options.sir),
        level=uniform(rng, options.level),
        enroll_id="",
        enroll_clip="",
        twin_enroll_id="",
        twin_enroll_clip="",
        text=_transcript(inventory, speech),
        same_gender=_same_gender(inventory, source.speaker, other),
    )


def _same_gender(inventory: Inventory, one: str, other: str) -> bool | None:
    """None where the sex of one of them is not known."""
    first, second = (inventory.genders.get(name) for name in (one, other))
    return None if first is None or second is None else first == second
