"""Drop values far outside the device's range: a single one would ring for half a second after filtering."""

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.order import written

MOST_OF_RANGE = 1.1
"""Tolerated multiple of full scale: ±6 g devices reach 6.006 g, and factory calibration may stretch it further."""


def without_absurd(
    times: NDArray[np.float64], acceleration: NDArray[np.float32], range_g: float, tally: Tally
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times (n,) and acceleration (n, 3) in g, without samples that have an axis out of range; these are counted."""
    limit = np.float32(MOST_OF_RANGE * range_g)
    if not len(times) or (acceleration.max() <= limit and acceleration.min() >= -limit):
        return times, acceleration
    possible = (np.abs(acceleration) <= limit).all(axis=1)
    first = int(np.argmin(possible))
    worst = float(acceleration[first, np.argmax(np.abs(acceleration[first]))])
    where = f"first {worst:.4g} g at {written(times[first])}, of a device of ±{range_g:g} g"
    tally.add("absurd values", int((~possible).sum()), where)
    return times[possible], acceleration[possible]
