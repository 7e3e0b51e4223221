"""Means over people and paired differences of two arms, with bootstrap confidence intervals."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
LEVEL = 0.95
SEED = 0


@dataclass(frozen=True)
class Interval:
    """A mean over people with a percentile bootstrap interval (Efron and Tibshirani 1993, ch. 13)."""

    people: int
    """Number of people."""
    mean: float
    """Mean over people."""
    low: float
    """Lower bound of the 95 % interval."""
    high: float
    """Upper bound of the 95 % interval."""


def interval(values: Mapping[str, float]) -> Interval:
    """Mean and interval of one value per person, resampling people with replacement; NaN if there are none.

    With a single person the interval is that value.
    """
    ordered = np.array([values[name] for name in sorted(values)])
    if not len(ordered):
        return Interval(0, float("nan"), float("nan"), float("nan"))
    means = ordered[_draws(len(ordered))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(len(ordered), float(ordered.mean()), float(low), float(high))


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> Interval:
    """Mean of `one` minus `other`, paired by person; people without a value in both are excluded."""
    return interval({name: one[name] - other[name] for name in one.keys() & other.keys()})


def _draws(count: int) -> NDArray[np.int64]:
    """Bootstrap samples (RESAMPLES, count) of indices; the same for every arm, metric and data set of that size."""
    return np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
