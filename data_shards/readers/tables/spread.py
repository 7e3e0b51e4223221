"""Recovers sampling times where many samples share a timestamp or arrive in bunches.

A watch may timestamp samples on arrival, or only to the second. Since samples are taken at a constant rate, their
number still determines their times. All functions take times in seconds in the order of the file, without gaps.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import minimum_filter1d

LOOK_AHEAD = 10.0
"""Seconds within which late samples catch up; a longer silence is a gap."""
REGULAR = 0.1
"""Share by which the number of samples per timestamp may differ from the usual number."""
IRREGULAR_SHARE = 0.01
"""Share of irregular timestamps above which the number of samples does not determine their times."""
LATE = 1.05
"""A sample is late if it is more than this many periods after the previous one; more than one surplus sample in a
hundred would shift this limit."""
QUICK = 0.9
"""A sample catches up if it is less than this many periods after the previous one."""
_LAG = 5.0
"""Seconds over which the period between samples is averaged."""


def mean_period(times: NDArray[np.float64]) -> float:
    """Mean seconds between samples, robust against single timestamps and excluding gaps; 0 if unknown."""
    step = np.diff(times)
    forward = step[step > 0]
    if not len(forward):
        return 0.0
    usual = float(np.median(forward))
    step[(step > max(LOOK_AHEAD, 3 * usual)) | (step < -LOOK_AHEAD)] = usual
    elapsed = np.concatenate([[0.0], np.cumsum(step)])
    lag = int(np.clip(len(times) * _LAG / max(elapsed[-1], 1e-9), 1, max(len(times) // 2, 1)))
    lagged = np.sort(elapsed[lag:] - elapsed[:-lag])
    quarter = len(lagged) // 4
    return max(float(lagged[quarter : len(lagged) - quarter].mean()) / lag, 0.0)


def is_even(times: NDArray[np.float64]) -> bool:
    """Whether every step is close to the mean step, so that nothing needs to be corrected."""
    if len(times) < 2:
        return True
    step = np.diff(times)
    mean = (times[-1] - times[0]) / (len(times) - 1)
    return bool(step.min() > 0.5 * mean and step.max() < 1.5 * mean)


class Groups:
    """Runs of samples that share a timestamp."""

    def __init__(self, times: NDArray[np.float64]) -> None:
        self.starts = np.concatenate([[0], np.flatnonzero(np.diff(times)) + 1])
        """(k,) index of the first sample in each run."""
        self.counts = np.diff(self.starts, append=len(times))
        """(k,) number of samples in each run."""
        self.stamps = times[self.starts]
        """(k,) timestamps in seconds."""
        steps = np.diff(self.stamps)
        self.unit = round(float(np.median(steps)), 4) if len(steps) else 0.0
        """Typical seconds between timestamps; 0 if there is only one."""
        inner = self.counts[1:-1] if len(self.counts) > 2 else self.counts
        self.usual = float(np.median(inner))
        """Typical number of samples per timestamp."""

    @property
    def rounded(self) -> bool:
        """Whether most samples share their timestamp, and timestamps are whole multiples of one unit of time."""
        if self.unit <= 0 or self.usual < 2:
            return False
        multiples = (self.stamps - self.stamps[0]) / self.unit
        return bool((np.abs(multiples - np.rint(multiples)) < 0.01).mean() > 0.99)

    @property
    def irregular(self) -> int:
        """Number of runs with an unusual number of samples; the first and the last one may have fewer."""
        surplus = self.counts - self.usual
        surplus[[0, -1]] = np.maximum(surplus[[0, -1]], 0)
        return int((np.abs(surplus) > max(1.0, REGULAR * self.usual)).sum())

    def spread(self) -> NDArray[np.float64]:
        """Times of all samples, evenly spaced over the unit of their timestamp."""
        # The first unit may have begun before the recording, and the last one may end after it.
        whole = np.maximum(self.counts, 1.0)
        whole[[0, -1]] = np.maximum(whole[[0, -1]], self.usual)
        late = np.zeros(len(self.counts))
        late[0] = whole[0] - self.counts[0] if len(self.counts) > 1 else 0.0
        place = np.arange(self.counts.sum()) - np.repeat(self.starts, self.counts)
        part = (place + np.repeat(late, self.counts)) / np.repeat(whole, self.counts)
        return np.repeat(self.stamps, self.counts) + part * self.unit


def bunched(times: NDArray[np.float64], period: float) -> NDArray[np.bool_]:
    """Mask of samples in a bunch: in close succession after a late one (a duplicate follows a punctual one)."""
    step = np.diff(times, prepend=times[0])
    quick = step < QUICK * period
    quick[0] = False
    ahead = np.maximum.accumulate(np.where(quick, 0, np.arange(len(times))))
    return (step < 0.5 * period) & quick & (step[ahead] > LATE * period)


def evened(times: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Evenly spaced times of samples timestamped on arrival, as early as the most punctual of the following samples.

    Where samples were lost, the following ones do not catch up, so the gap is kept.
    """
    turns = np.arange(len(times)) * period
    size = min(_window(period), len(times))
    punctual = minimum_filter1d(times - turns, size, origin=-(size // 2), mode="nearest")
    return turns + punctual


def squeezed(times: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Times at least half a period apart: samples before a cluster are moved earlier, and none is lost."""
    half = np.arange(len(times)) * period / 2
    return np.minimum.accumulate((times - half)[::-1])[::-1] + half


def _window(period: float) -> int:
    """Number of samples in `LOOK_AHEAD`; odd, so that a window of that size can start or end at a sample."""
    return 2 * max(int(LOOK_AHEAD / period / 2), 1) + 1
