"""Random draws that depend on nothing but seed, set and index."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from espnet_pse_kd.audio import SAMPLE_RATE


def generator(seed: int, group: str, index: int) -> np.random.Generator:
    """The random generator of one sample."""
    return np.random.default_rng([seed, zlib.crc32(group.encode()), index])


def pick[T](rng: np.random.Generator, items: Sequence[T]) -> T:
    """One of the items."""
    return items[int(rng.integers(len(items)))]


def uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    """A number between the bounds."""
    return float(rng.uniform(*bounds))


def chance(rng: np.random.Generator, share: float) -> bool:
    """True with probability ``share``."""
    return bool(rng.uniform() < share)


def by_share(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """A key, with a probability in proportion to its share."""
    edges = np.cumsum(list(shares.values()))
    index = np.searchsorted(edges, rng.uniform(0, edges[-1]), side="right")
    return list(shares)[min(int(index), len(shares) - 1)]


def length(rng: np.random.Generator, bounds: tuple[float, float]) -> int:
    """Samples of a stretch whose seconds lie between the bounds."""
    return round(uniform(rng, bounds) * SAMPLE_RATE)
