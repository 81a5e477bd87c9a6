"""What each sample of a block of training samples is: stratified, and in groups.

A batch whose scenarios are drawn one by one holds no inactive target at all, or four,
by chance. In a block of eight the scenarios have the asked shares as nearly as eight
samples can, and groups of samples share one mixture.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from espnet_pse_kd.simulation.draws import chance, generator
from espnet_pse_kd.simulation.options import SimulationOptions
from espnet_pse_kd.simulation.trial import Member

BLOCK = 8
"""Samples per block, a batch or a part of one."""
_GROUP = 2.5  # samples of a group, in the mean


class Place(NamedTuple):
    """What one sample is.

    Attributes:
        scenario: ``ts0``, ``ts1``, ``ts2`` or ``its``.
        first: index of the sample from which its mixture is drawn: its own, or the
            group's first.
        member: place in a group.
    """

    scenario: str
    first: int
    member: Member = ""


def place_of(options: SimulationOptions, seed: int, set_name: str, index: int) -> Place:
    """The place of sample ``index`` of a training set."""
    block, position = divmod(index, BLOCK)
    return _block(options, seed, set_name, block)[position]


@functools.lru_cache(maxsize=64)
def _block(
    options: SimulationOptions, seed: int, set_name: str, block: int
) -> list[Place]:
    rng = generator(seed, f"{set_name}_blocks", block)
    groups = _groups(rng, options)
    kinds = iter(_scenarios(rng, options, groups.count(1)))
    places: list[Place] = []
    for size in groups:
        first = block * BLOCK + len(places)
        if size == 1:
            places.append(Place(next(kinds), first))
            continue
        members: tuple[Member, ...] = ("target", "interferer", "absent")
        places += [Place("ts2", first, member) for member in members[:size]]
    return places


def _groups(rng: np.random.Generator, options: SimulationOptions) -> list[int]:
    """Sizes of the groups that fill a block; 1 for a sample of its own."""
    rate = options.paired / (_GROUP - (_GROUP - 1) * options.paired)
    sizes: list[int] = []
    while (room := BLOCK - sum(sizes)) > 0:
        grouped, third = chance(rng, rate), options.its > 0 and chance(rng, 0.5)
        sizes.append(min(3 if third else 2, room) if grouped else 1)
    return [int(size) for size in rng.permutation(sizes)]


def _scenarios(
    rng: np.random.Generator, options: SimulationOptions, count: int
) -> list[str]:
    """Stratified scenarios of the samples outside of groups, in random order."""
    shares = {name: getattr(options, name) for name in ("ts0", "ts1", "ts2", "its")}
    edges = np.cumsum(list(shares.values()))
    points = (np.arange(count) + rng.uniform()) / max(count, 1) * edges[-1]
    chosen = np.searchsorted(edges, points, side="right").clip(max=len(edges) - 1)
    return [list(shares)[int(k)] for k in rng.permutation(chosen)]
