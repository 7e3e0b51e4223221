"""When each sample of an Axivity was taken.

A block says when one sample near it was taken: the clock read a whole second, and since the firmware of 2016 or so a
fraction of 1/32768 s (cwa.h, `deviceFractional`), at the sample `timestampOffset` from the block's first. That offset
"was already adjusted" by as many whole samples as the fraction is worth at the nominal rate, so that older programs,
which leave out the fraction, are right to a sample; here both are undone. Between such anchors the samples are even:
the sensor's rate is its own and off by up to some per cent, the clock is a quartz.

On real files the anchors lie within 1 ms of a line (standard deviation). The libraries at hand, cwa-reader-rs and
scikit-digital-health, leave out the fraction and are up to two samples off.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FRACTION_THERE = 0x8000
"""Top bit of `deviceFractional`; without it the field is a device number."""
NEIGHBOURS = 16
"""Anchors over which the rate at an end of a stretch is measured."""


def anchor(
    stamp: NDArray[np.float64], fractional: NDArray[np.uint16], offset: NDArray[np.int16], rate: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Per block: a time in seconds, and the sample taken then, counted from the block's first."""
    fraction = np.where(fractional & FRACTION_THERE, (fractional.astype(np.int64) & 0x7FFF) << 1, 0)  # of 65,536
    # The firmware's own arithmetic, its rate in whole Hz.
    return stamp + fraction / 65_536, offset + (fraction * int(rate) >> 16)


def nodes(
    at: NDArray[np.float64], sample: NDArray[np.int64], counts: NDArray[np.int64], rate: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Samples and their times, between which (`numpy.interp`) all samples of the recording lie.

    Args:
        at: (blocks,) time of each block's anchor.
        sample: (blocks,) the anchor's sample, from the block's first.
        counts: (blocks,) samples in each block.
        rate: Nominal samples per second.

    Returns:
        Strictly increasing indices into the recording's samples, and seconds. Where blocks are missing, neighbouring
        samples are nodes, so that nothing lies between them.
    """
    filled = counts > 0
    at, counts = at[filled], counts[filled]
    first = np.cumsum(counts) - counts
    index = first + sample[filled]
    steps = np.diff(index)
    with np.errstate(divide="ignore", invalid="ignore"):
        periods = np.diff(at) / steps
    likely = periods[(steps > 0) & (np.abs(periods * rate - 1) < 0.2)]
    period = float(np.median(likely)) if len(likely) else 1 / rate
    late = np.abs(np.diff(at) - steps * period)
    edges = np.flatnonzero(late > np.maximum(counts[:-1] / 2, 4) * period) + 1
    parts = [
        _stretch(index[start:stop], at[start:stop], int(first[start]), int(first[stop - 1] + counts[stop - 1]), period)
        for start, stop in pairwise([0, *edges.tolist(), len(at)])
        if stop > start
    ]
    if not parts:
        return np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _stretch(
    index: NDArray[np.int64], at: NDArray[np.float64], first: int, stop: int, period: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nodes of blocks that follow one another, which hold the samples first..stop of the recording."""
    rising = np.diff(index, prepend=index[0] - 1) > 0
    rising &= np.diff(at, prepend=at[0] - 1) > 0
    index, at = index[rising], at[rising]
    last = len(at) - 1
    near = min(NEIGHBOURS, last)
    begin = _at(first, index, at, _period(index[: near + 1], at[: near + 1], period))
    close = _at(stop - 1, index, at, _period(index[last - near :], at[last - near :], period))
    if stop - 1 == first:
        return np.array([first]), np.array([begin])
    inside = (index > first) & (index < stop - 1)
    return np.concatenate([[first], index[inside], [stop - 1]]), np.concatenate([[begin], at[inside], [close]])


def _period(index: NDArray[np.int64], at: NDArray[np.float64], period: float) -> float:
    """Seconds from sample to sample, measured over these anchors if they are enough for it, else the given ones."""
    measured = (at[-1] - at[0]) / (index[-1] - index[0]) if len(at) > 1 else period
    return float(measured if abs(measured / period - 1) < 0.1 else period)


def _at(sample: int, index: NDArray[np.int64], at: NDArray[np.float64], period: float) -> float:
    """The sample's time: between two anchors, or beyond the first or last at the given period."""
    if sample < index[0]:
        return float(at[0] + (sample - index[0]) * period)
    if sample > index[-1]:
        return float(at[-1] + (sample - index[-1]) * period)
    return float(np.interp(sample, index, at))
