"""Sampling times of Axivity recordings.

A block gives the time of one sample near it, `timestampOffset` samples from its first: a whole second and, since the
firmware of about 2016, a fraction in units of 1/32768 s (cwa.h, `deviceFractional`). The offset "was already adjusted"
by the whole number of samples that the fraction amounts to at the nominal rate, so that older programs, which ignore
the fraction, are right to within a sample; here this is undone and the fraction is used. Between these anchors samples
are evenly spaced: the sensor's own rate is off by up to some per cent, whereas the clock is a quartz.

In real files, anchors deviate from a straight line by 1 ms (standard deviation) at most. The available libraries,
cwa-reader-rs and scikit-digital-health, ignore the fraction and are off by up to two samples.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

FRACTION_THERE = 0x8000
"""Top bit of `deviceFractional`; without it the field is a device number."""
NEIGHBOURS = 16
"""Number of anchors from which the rate at an end of a stretch is measured."""
DAYS = np.array([0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31, 0, 0, 0])
"""Maximum number of days in each month; 0 for values that are not months."""


def has_date(stamp: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Whether `cwa_timestamp_t` is a valid date: YYYYYYMM MMDDDDDh hhhhmmmm mmssssss."""
    month, day, hour = stamp >> 22 & 0xF, stamp >> 17 & 0x1F, stamp >> 12 & 0x1F
    clock = (hour < 24) & ((stamp >> 6 & 0x3F) < 60) & ((stamp & 0x3F) < 60)
    date = (day >= 1) & (day <= DAYS[month]) & ((month != 2) | (day < 29) | ((stamp >> 26) % 4 == 0))
    return clock & date


def seconds(stamp: NDArray[np.uint32]) -> NDArray[np.float64]:
    """`cwa_timestamp_t` in seconds since 1970; years count from 2000."""
    months = (stamp >> 26).astype(np.int64) * 12 + (stamp >> 22 & 0xF) + (30 * 12 - 1)
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + (stamp >> 17 & 0x1F) - 1
    clock = (stamp >> 12 & 0x1F).astype(np.int64) * 3600 + (stamp >> 6 & 0x3F) * 60 + (stamp & 0x3F)
    return (days * 86_400 + clock).astype(np.float64)


def anchor(
    stamp: NDArray[np.float64], fractional: NDArray[np.uint16], offset: NDArray[np.int16], rate: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Anchor of each block: a time in seconds, and the index of the sample taken then, from the block's first."""
    fraction = np.where(fractional & FRACTION_THERE, (fractional.astype(np.int64) & 0x7FFF) << 1, 0)  # of 65,536
    # As the firmware computes it, with the rate in whole Hz.
    return stamp + fraction / 65_536, offset + (fraction * int(rate) >> 16)


def nodes(
    at: NDArray[np.float64], sample: NDArray[np.int64], counts: NDArray[np.int64], rate: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Samples and their times, from which the times of all others are interpolated (`numpy.interp`).

    Args:
        at: (blocks,) time of each block's anchor.
        sample: (blocks,) index of the anchor's sample, from the block's first.
        counts: (blocks,) number of samples in each block.
        rate: Nominal sampling rate in Hz.

    Returns:
        Strictly increasing indices into the recording's samples, and their times in seconds. The samples on both sides
        of a gap are nodes, so that nothing is interpolated across it.
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
    """Nodes of a stretch of blocks without a gap, which hold the samples first..stop of the recording."""
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
    """Seconds between samples, measured from these anchors; if that is not plausible, `period`."""
    measured = (at[-1] - at[0]) / (index[-1] - index[0]) if len(at) > 1 else period
    return float(measured if abs(measured / period - 1) < 0.1 else period)


def _at(sample: int, index: NDArray[np.int64], at: NDArray[np.float64], period: float) -> float:
    """Time of a sample: interpolated between anchors, extrapolated with the given period beyond them."""
    if sample < index[0]:
        return float(at[0] + (sample - index[0]) * period)
    if sample > index[-1]:
        return float(at[-1] + (sample - index[-1]) * period)
    return float(np.interp(sample, index, at))
