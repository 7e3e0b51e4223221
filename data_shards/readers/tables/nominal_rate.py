"""Estimates the sampling rate to which a device was set from the times of its samples."""

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.tables.spread import mean_period

LONG_RUN = 24
"""Steps in a row that are not all alike if timestamps are rounded to a time shorter than the period by over 5 %."""
WHOLE = 5e-4
"""Relative difference from a whole number of Hz below which a measured rate is rounded to it."""


def nominal_rate(times: NDArray[np.float64]) -> float:
    """Configured sampling rate in Hz, estimated from the times; 0 if there are fewer than two."""
    step = np.diff(times)
    if not len(step):
        return 0.0
    middle = float(np.median(step))
    alike = np.abs(step - middle) < 0.5 * middle
    half = np.abs(step - 0.5 * middle) < 0.01 * middle
    if (half | (np.abs(step - middle) < 0.01 * middle)).mean() > 0.99:
        alike |= half  # in milliseconds at 512 Hz, some steps are half as long as most
    near = step[alike]
    if not len(near):  # the median lies between two very different steps
        return 0.0
    mean = float(near.mean())
    period = mean_period(times) or mean
    # Timestamps in hundredths of a second at 80 Hz are typically 0.01 s apart, but not on average: every fourth step is
    # longer. If steps are longer only here and there, samples are missing.
    longest_run = int(np.diff(np.flatnonzero(~alike), prepend=-1, append=len(step)).max()) - 1
    rate = 1 / (mean if abs(mean - period) < 0.05 * period or longest_run >= LONG_RUN else period)
    if rate == np.inf:
        return 0.0
    return float(round(rate)) if abs(rate - round(rate)) < WHOLE * rate else round(rate, 3) or rate
