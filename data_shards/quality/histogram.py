"""A histogram as what a small SVG needs: bars, ticks and a limit, in units of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 280, 110
"""Of the bars' field."""


_LEAST = 1e-9
"""Values up to here are zero on any scale that a person reads."""


@dataclass(frozen=True)
class Bar:
    """One bar; it stands on the field's lower edge."""

    x: float
    """Left edge."""
    width: float
    """Breadth."""
    height: float
    """Height."""
    title: str
    """What it counts, for people."""


@dataclass(frozen=True)
class Histogram:
    """One histogram."""

    title: str
    """What is counted, with its unit."""
    summary: str
    """Count, median and range in words, also for those who cannot see the picture."""
    bars: tuple[Bar, ...]
    """Empty where there is nothing to count."""
    ticks: tuple[tuple[float, str], ...]
    """(x, label) of the axis."""
    limit: float | None
    """x of the policy's limit; None where it has none, or it lies outside."""
    most: int
    """Recordings in the highest bar."""


def histogram(title: str, unit: str, values: Sequence[float], limit: float | None = None, bins: int = 28) -> Histogram:
    """Count values from zero up in bins of a round width.

    Args:
        title: what is counted.
        unit: of the values.
        values: one a recording, zero or more.
        limit: where the policy draws a line.
        bins: at most so many.
    """
    if not len(values):
        return Histogram(title, "no recording has a value", (), (), None, 0)
    array = np.asarray(values, np.float64)
    largest = float(array.max())
    step = _round_step(largest if largest > _LEAST else 1.0, bins)
    count = int(array.max() // step) + 1
    counts = np.bincount((array // step).astype(int), minlength=count)
    most, unit_width = int(counts.max()), WIDTH / count
    bars = tuple(
        Bar(
            x=round(index * unit_width, 2),
            width=round(unit_width - 0.75, 2),
            height=round(max(number / most * HEIGHT, 1.0), 2),
            title=f"{index * step:g} to {(index + 1) * step:g} {unit}: {number:,}",
        )
        for index, number in enumerate(counts)
        if number
    )
    every = -(-count // 5)
    ticks = tuple((round(index * unit_width, 2), f"{index * step:g}") for index in range(0, count + 1, every))
    at = None if limit is None or not limit <= count * step else round(limit / (count * step) * WIDTH, 2)
    summary = f"{len(array):,} recordings, median {np.median(array):.3g}, {array.min():.3g} to {array.max():.3g} {unit}"
    return Histogram(f"{title} ({unit})", summary, bars, ticks, at, most)


def _round_step(largest: float, bins: int) -> float:
    """The smallest of 1, 2, 5 times a power of ten with which so many bins reach the largest value."""
    least = largest / bins
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least))
