"""Drawing windows from an hour: weighted sampling without replacement, fast enough for a visit every 250 µs."""

import numpy as np
from numpy.typing import NDArray

from data_shards.shards.block import window_starts
from data_shards.stream import keyed

_QUANTILES = 1 << 16
_EXPONENTIAL = (-np.log((np.arange(_QUANTILES) + 0.5) / _QUANTILES)).astype(np.float32)
"""Quantiles of the exponential distribution, selected by a 16-bit number. Finer steps would change the probability of a
window by at most 2^-17, and this way one hash gives four draws."""
_EXPONENTIAL.flags.writeable = False

_INDEX_BITS = 12
"""An hour has at most 3,600 starts."""
_INDICES = np.arange(1 << _INDEX_BITS, dtype=np.uint64)
_INDICES.flags.writeable = False

LEAST_WEIGHT = 1e-6
"""Lower bound of a window's weight in g·s, so that windows without motion can be drawn if there are no others."""


def draw_starts(
    motion: NDArray[np.float32], wear: NDArray[np.uint8], count: int, window_seconds: int, key: int
) -> NDArray[np.int64]:
    """Draw (count,) window starts of a block, in seconds, ascending; all of them if there are at most `count`.

    Sampled without replacement, with probability proportional to the window's sum of per-second motion (Yuan et al.
    2024): each start gets an exponential time divided by its weight, and the earliest are selected (Efraimidis and
    Spirakis 2006). Only windows with every second worn take part.

    Args:
        motion: (s,) per-second motion in g.
        wear: (s,) 1 where the second is complete and worn.
        count: number of windows to draw.
        window_seconds: window length in seconds.
        key: random key of the draw; see data_shards/stream/keyed.py.
    """
    if len(wear) < window_seconds:
        return np.empty(0, np.int64)
    weight = moving_sum(motion, window_seconds)
    worn = None if wear.all() else window_starts(wear, window_seconds)
    if worn is not None:
        weight = weight[worn]
    candidates = len(weight)
    if count < candidates:
        draws = keyed.numbers(key, -(-candidates // 4)).view("<u2")[:candidates]
        times = _EXPONENTIAL.take(draws) / np.maximum(weight, np.float32(LEAST_WEIGHT))
        # Times are positive, so their bits sort in the same order; with the index in the low bits no two are equal, so
        # the result does not depend on how a library's partition treats ties.
        ranks = times.view(np.uint32).astype(np.uint64)
        ranks <<= np.uint64(_INDEX_BITS)
        ranks |= _INDICES[:candidates]
        ranks.partition(count - 1)
        chosen = (ranks[:count] & np.uint64((1 << _INDEX_BITS) - 1)).astype(np.int64)
        chosen.sort()
    else:
        chosen = np.arange(candidates)
    return chosen if worn is None else worn[chosen]


def moving_sum(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """(s - width + 1,) sums of `width` consecutive values, combined from sums of 1, 2, 4, … of them."""
    length, offset, step = len(values) - width + 1, 0, 1
    total = np.zeros(length, np.float32)
    while True:
        if width & step:
            total += values[offset : offset + length]
            offset += step
        if 2 * step > width:
            return total
        values = values[:-step] + values[step:]
        step *= 2
