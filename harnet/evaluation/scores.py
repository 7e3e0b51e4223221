"""From scores of people to a mean with its interval, and to the difference of two arms with its interval."""

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
    """People that it is over."""
    mean: float
    """Mean over people."""
    low: float
    """Lower end of the 95 % interval."""
    high: float
    """Upper end."""


def interval(values: Mapping[str, float]) -> Interval:
    """Of one value a person. People are drawn with replacement; with one person the interval is that value."""
    ordered = np.array([values[name] for name in sorted(values)])
    if not len(ordered):
        return Interval(0, float("nan"), float("nan"), float("nan"))
    means = ordered[_draws(len(ordered))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(len(ordered), float(ordered.mean()), float(low), float(high))


def difference(one: Mapping[str, float], other: Mapping[str, float]) -> Interval:
    """`one` minus `other`, paired by person; people who lack a value in either are left out."""
    return interval({name: one[name] - other[name] for name in one.keys() & other.keys()})


def _draws(count: int) -> NDArray[np.int64]:
    """The same people for every arm, metric and data set of that size."""
    return np.random.default_rng(SEED).integers(0, count, (RESAMPLES, count))
