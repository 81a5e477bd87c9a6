"""Confidence intervals by resampling target speakers and training seeds jointly.

Trials of one speaker, and of one training run, are not independent: an interval over
trials would be too narrow. Each draw takes as many speakers and as many seeds as there
are, with replacement, and weighs a trial by how often its speaker and seed were drawn.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
CONFIDENCE = 0.95

Statistic = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps values (n,) or (n, 2) and weights (draws, n) to one number per draw (draws,)."""


@dataclass(frozen=True)
class Interval:
    """A statistic with its 95 % interval.

    Attributes:
        value: the statistic of all trials.
        low: lower end.
        high: upper end.
        speakers: number of target speakers resampled, the n of the interval.
        trials: number of values.
    """

    value: float
    low: float
    high: float
    speakers: int
    trials: int


def mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean: values (n,), weights (draws, n) -> (draws,)."""
    return weights @ values / weights.sum(-1)


def ratio(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Ratio of sums, as in a word error rate: values (n, 2) -> (draws,)."""
    sums = weights @ values
    with np.errstate(divide="ignore", invalid="ignore"):
        return sums[:, 0] / sums[:, 1]


def median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted median: `numpy.median` of the values repeated by their weights."""
    order = np.argsort(values, kind="stable")
    # Along the draws, which lie side by side: faster than along the values.
    cumulative = np.cumsum(weights.T[order], 0)  # [n, draws]
    half = cumulative[-1] / 2
    low = values[order][(cumulative < half).sum(0)]
    high = values[order][(cumulative <= half).sum(0)]
    return (low + high) / 2


def worst(values: np.ndarray, weights: np.ndarray, part: float = 0.05) -> np.ndarray:
    """Weighted mean of the lowest ``part`` of the values: (n,) -> (draws,)."""
    order = np.argsort(values, kind="stable")
    sorted_weights = weights[:, order]
    before = np.cumsum(sorted_weights, -1) - sorted_weights
    room = part * sorted_weights.sum(-1, keepdims=True) - before
    return mean(values[order], np.clip(np.minimum(sorted_weights, room), 0, None))


@functools.lru_cache(maxsize=8)
def _weights(
    speakers: tuple[str, ...], seeds: tuple[int, ...] | None, draws: int, seed: int
) -> np.ndarray:
    """Weights (draws, n), of draws with any; for every measure of the same trials."""
    rng = np.random.default_rng(seed)
    weights = np.ones((draws, len(speakers)))
    for factor in (speakers, seeds):
        if factor is None:
            continue
        names, index = np.unique(np.asarray(factor), return_inverse=True)
        count = len(names)
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=draws)
        weights *= drawn[:, index]
    weights = np.asfortranarray(weights[weights.sum(-1) > 0])
    weights.flags.writeable = False
    return weights


def resampled(
    values: np.ndarray,
    speakers: Sequence[str],
    seeds: Sequence[int] | None = None,
    statistic: Statistic = mean,
    draws: int = DRAWS,
    seed: int = 0,
) -> np.ndarray:
    """A statistic of all values, and of each draw: (1 + draws,).

    The same speakers and seeds, in whatever rows, give the same draws, so that what is
    computed from several such arrays has an interval of its own, see `interval_of`.

    Args:
        values: (n,) or (n, 2), finite.
        speakers: (n,) target speaker of each value.
        seeds: (n,) training seed of each value, or None where there is one run only.
        statistic: as in `bootstrap_interval`.
        draws: number of resamples.
        seed: of the resampling.
    """
    weights = _weights(
        tuple(speakers), None if seeds is None else tuple(seeds), draws, seed
    )
    every = np.ones((1, len(speakers)))
    return np.concatenate([statistic(values, every), statistic(values, weights)])


def interval_of(drawn: np.ndarray, speakers: int, trials: int) -> Interval:
    """The interval of what was computed from `resampled` arrays.

    Args:
        drawn: (1 + draws,) the value itself, then that of each draw.
        speakers: number of target speakers resampled.
        trials: number of values.
    """
    value = float(drawn[0])
    # A draw may miss every cell of an incomplete design; it has no statistic then.
    finite = drawn[1:][np.isfinite(drawn[1:])]
    tail = 50 * (1 - CONFIDENCE)
    ends = np.percentile(finite, [tail, 100 - tail]) if finite.size else (value,) * 2
    return Interval(value, float(ends[0]), float(ends[1]), speakers, trials)


def bootstrap_interval(
    values: np.ndarray,
    speakers: Sequence[str],
    seeds: Sequence[int] | None = None,
    statistic: Statistic = mean,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """95 % percentile interval of a statistic over target speakers and seeds.

    Args:
        values: (n,) one per trial and seed, or (n, 2) for `ratio`. Rows with NaN are
            left out.
        speakers: (n,) target speaker of each value.
        seeds: (n,) training seed of each value, or None where there is one run only.
        statistic: `mean`, `median`, `worst` or `ratio`.
        draws: number of resamples.
        seed: of the resampling; the same speakers give the same draws.

    Returns:
        The interval; NaN with n = 0 where no value is finite.
    """
    return _bootstrap([values], speakers, seeds, statistic, draws, seed)


def paired_difference(
    values: np.ndarray,
    rival: np.ndarray,
    speakers: Sequence[str],
    seeds: Sequence[int] | None = None,
    statistic: Statistic = mean,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Interval of ``statistic(values) - statistic(rival)``, both under the same draws.

    Args:
        values: (n,) or (n, 2) of one system.
        rival: the other system's, on the same trials and seeds in the same order.
        speakers: (n,)
        seeds: (n,) or None.
        statistic: as in `bootstrap_interval`.
        draws: number of resamples.
        seed: of the resampling.

    Raises:
        ValueError: the two systems have different numbers of values.
    """
    if np.shape(values) != np.shape(rival):
        raise ValueError(f"not paired: shapes {np.shape(values)}, {np.shape(rival)}")
    return _bootstrap([values, rival], speakers, seeds, statistic, draws, seed)


def _bootstrap(
    systems: Sequence[np.ndarray],
    speakers: Sequence[str],
    seeds: Sequence[int] | None,
    statistic: Statistic,
    draws: int,
    seed: int,
) -> Interval:
    systems = [np.asarray(values, np.float64) for values in systems]
    known = np.all(
        [np.isfinite(v).reshape(len(v), -1).all(-1) for v in systems], axis=0
    )
    systems = [values[known] for values in systems]
    speakers = np.asarray(speakers)[known].tolist()
    seeds = None if seeds is None else np.asarray(seeds)[known].tolist()
    if not speakers:
        return Interval(float("nan"), float("nan"), float("nan"), 0, 0)
    drawn = [resampled(v, speakers, seeds, statistic, draws, seed) for v in systems]
    above = drawn[0] - drawn[1] if drawn[1:] else drawn[0]
    return interval_of(above, len(set(speakers)), len(speakers))
