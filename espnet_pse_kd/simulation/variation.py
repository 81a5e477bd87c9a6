"""What makes few recordings go a long way: variations of a drawn training sample.

Everything here draws from generators of its own, so that a share that is set to 0
leaves all else as it was.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from espnet_pse_kd.simulation.channels import draw_codec
from espnet_pse_kd.simulation.draws import (
    chance,
    generator,
    length,
    pick,
    uniform,
)
from espnet_pse_kd.simulation.mixing import equalizer
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.simulation.split import Inventory, Piece, Source
from espnet_pse_kd.simulation.transients import KINDS
from espnet_pse_kd.simulation.trial import Interference, NoisePart, Transient, Trial

MADE = {"*babble": "babble", "*shaped": "shaped_noise"}
"""Noises that are made, by the option that holds their share."""
_TALKERS = (4, 8)
_MOST_TRANSIENTS = 4
_MOST_INTERRUPTIONS = 3


def vary(
    inventory: Inventory, options: SimulationOptions, seed: int, trial: Trial
) -> Trial:
    """Vary noises, channels, voices and turns of a training sample."""
    rng = generator(seed, "variation", trial.index)
    trial = _noises(rng, inventory, options, trial)
    trial = _room(rng, options, trial)
    trial = _turns(rng, options, trial)
    trial = _further_interferers(rng, inventory, options, trial)
    spread = options.equalizer
    colours = tuple(equalizer(rng, spread) for _ in range(3)) if spread else ()
    own = generator(seed, "codec", trial.index)
    return replace(
        trial,
        equalizers=colours,
        transients=_transients(rng, options, trial.samples),
        telephone=chance(rng, options.telephone),
        codec=draw_codec(own) if chance(own, options.codec) else None,
        absences=_absences(generator(seed, "absences", trial.index), options, trial),
    )


def _noises(
    rng: np.random.Generator,
    inventory: Inventory,
    options: SimulationOptions,
    trial: Trial,
) -> Trial:
    parts = [replace(trial.noises[0], speed=uniform(rng, options.noise_speed))]
    if chance(rng, options.second_noise):
        level = -float(rng.uniform(0.0, 10.0))
        speed = uniform(rng, options.noise_speed)
        other = pick(rng, inventory.noise_ids)
        parts.append(NoisePart(other, float(rng.uniform()), speed, level))
    draw = rng.uniform()
    for name, option in MADE.items():
        draw -= getattr(options, option)
        if draw < 0:
            parts[0] = _made(rng, inventory, name, trial.samples)
            break
    return replace(trial, noises=tuple(parts))


def _made(
    rng: np.random.Generator, inventory: Inventory, name: str, samples: int
) -> NoisePart:
    voices: tuple[tuple[Piece, ...], ...] = ()
    if name == "*babble":
        count = int(rng.integers(*_TALKERS, endpoint=True))
        talkers = [inventory.draw_speaker(rng) for _ in range(count)]
        voices = tuple(
            tuple(draw_interference(rng, inventory, talker, samples)[0])
            for talker in talkers
        )
    return NoisePart(name, float(rng.uniform()), voices=voices)


def _room(rng: np.random.Generator, options: SimulationOptions, trial: Trial) -> Trial:
    dry, swapped = (
        chance(rng, share) for share in (options.dry_share, options.swapped_distances)
    )
    if dry:
        return replace(trial, room="dry", responses=())
    if swapped and len(trial.responses) == 3:  # measured rooms know no distance
        near, far, noise = trial.responses
        return replace(trial, responses=(far, near, noise))
    return trial


def _turns(rng: np.random.Generator, options: SimulationOptions, trial: Trial) -> Trial:
    """Let one voice end and the other begin, with a drawn overlap."""
    takes, first = chance(rng, options.turns), chance(rng, 0.5)
    cut, overlap = rng.uniform(0.25, 0.75), rng.uniform()
    if not takes:
        return trial
    samples = trial.samples
    end = round(samples * (cut + overlap * (1 - cut)))
    begin = round(samples * cut)
    turns = (0, end), (begin, samples - begin)
    one, other = turns if first else turns[::-1]
    return replace(trial, target_turn=one, interferer_turn=other)


def _further_interferers(
    rng: np.random.Generator,
    inventory: Inventory,
    options: SimulationOptions,
    trial: Trial,
) -> Trial:
    present = [trial.speaker, trial.interferer]
    more: list[Interference] = []
    while len(more) < 2 and chance(rng, options.further_interferers):
        speaker = inventory.draw_speaker(rng, present)
        present.append(speaker)
        pieces, at = draw_interference(rng, inventory, speaker, trial.samples)
        response = trial.responses[1] if trial.responses else None
        level = float(rng.uniform(-8.0, 3.0))
        more.append(Interference(speaker, pieces, at, response, level))
    # A group enrolls the first interferer: he must be alone with the target.
    return trial if trial.member else replace(trial, more=tuple(more))


def _transients(
    rng: np.random.Generator, options: SimulationOptions, samples: int
) -> tuple[Transient, ...]:
    if not chance(rng, options.transients):
        return ()
    return tuple(
        Transient(
            int(rng.integers(samples)),
            pick(rng, KINDS),
            int(rng.integers(2**31)),
            uniform(rng, options.transient_level),
        )
        for _ in range(int(rng.integers(1, _MOST_TRANSIENTS, endpoint=True)))
    )


def _absences(
    rng: np.random.Generator, options: SimulationOptions, trial: Trial
) -> tuple[tuple[int, int], ...]:
    """Stretches in which the target falls silent."""
    lengths = []
    if chance(rng, options.long_absence):
        lengths.append(length(rng, options.absence_seconds))
    if chance(rng, options.interruptions):
        count = int(rng.integers(1, _MOST_INTERRUPTIONS, endpoint=True))
        lengths += [length(rng, options.interruption_seconds) for _ in range(count)]
    fitting = [min(samples, trial.samples) for samples in lengths]
    return tuple((int(rng.integers(trial.samples - n + 1)), n) for n in fitting)


def draw_interference(
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


def shorten(
    rng: np.random.Generator, options: SimulationOptions, trial: Trial
) -> Trial:
    """Leave a short utterance of the target's speech, somewhere in the sample."""
    if not chance(rng, options.short):
        return trial
    whole = Source("", trial.speaker, tuple(trial.speech))
    frames = min(length(rng, options.short_seconds), whole.samples)
    start = int(rng.integers(whole.samples - frames + 1))
    return replace(
        trial,
        speech=whole.cut(start, frames),
        speech_at=int(rng.integers(trial.samples - frames + 1)),
        pause=0,
        text="",
    )
