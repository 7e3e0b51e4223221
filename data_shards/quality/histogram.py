"""The geometry of a histogram for a small SVG: bars, ticks and a limit, in SVG units."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 280, 110
"""Size of the plot area in SVG units."""


_LEAST = 1e-9
"""Values up to this count as zero."""


@dataclass(frozen=True)
class Bar:
    """One bar, standing on the lower edge of the plot area."""

    x: float
    """Left edge."""
    width: float
    """Width."""
    height: float
    """Height."""
    title: str
    """Tooltip text."""


@dataclass(frozen=True)
class Histogram:
    """One histogram."""

    title: str
    """What is counted, with its unit."""
    summary: str
    """Count, median and range as text, also for accessibility."""
    bars: tuple[Bar, ...]
    """The bars; empty if there are no values."""
    ticks: tuple[tuple[float, str], ...]
    """(x, label) of the axis ticks."""
    limit: float | None
    """x of the policy's limit; None if there is none, or it lies outside."""
    most: int
    """Number of recordings in the highest bar."""


def histogram(title: str, unit: str, values: Sequence[float], limit: float | None = None, bins: int = 28) -> Histogram:
    """Count values from zero up in bins of a round width.

    Args:
        title: title of the histogram.
        unit: unit of the values.
        values: one non-negative value per recording.
        limit: the policy's limit, if any.
        bins: maximum number of bins.
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
    """The smallest bin width of the form 1, 2 or 5 times a power of ten with which `bins` bins cover `largest`."""
    least = largest / bins
    power = 10.0 ** np.floor(np.log10(least))
    return float(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least))
