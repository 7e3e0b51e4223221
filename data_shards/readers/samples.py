"""Samples as they come out of a file, piece by piece, in memory that is taken only as it fills."""

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.recording import Temperature


class Samples:
    """Acceleration and times of one recording; samples not later than all before them are left out and counted.

    A week at 100 Hz is 1.2 GB, so nothing is ever held twice: `capacity` is an upper bound that the file's size gives,
    and the operating system hands out the pages of an unused tail only if they are written.
    """

    def __init__(self, capacity: int, tally: Tally) -> None:
        self._tally = tally
        self._acceleration = np.empty((capacity, 3), np.float32)
        self._times = np.empty(capacity, np.float64)
        self._count = 0
        self._latest = -np.inf

    def append(self, times: NDArray[np.float64], acceleration: NDArray[np.float32]) -> None:
        """Add samples: times (n,) in seconds, acceleration (n, 3) in g."""
        if not len(times):
            return
        assert acceleration.shape == (len(times), 3)
        if times[0] <= self._latest or not (np.diff(times) > 0).all():
            latest = np.maximum.accumulate(np.concatenate([[self._latest], times]))
            forward = times > latest[:-1]
            again = times == latest[:-1]
            self._tally.add("duplicate samples", int(again.sum()))
            self._tally.add("backward times", int((~forward & ~again).sum()))
            times, acceleration = times[forward], acceleration[forward]
        stop = self._count + len(times)
        assert stop <= len(self._times), (stop, len(self._times))
        self._acceleration[self._count : stop] = acceleration
        self._times[self._count : stop] = times
        self._count = stop
        if len(times):
            self._latest = float(times[-1])

    def finish(self) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        """Times (n,) and acceleration (n, 3). Raises `HarnetError` if more is odd than can be mended."""
        self._tally.judge(self._count + self._tally.count("backward times") + self._tally.count("duplicate samples"))
        return self._times[: self._count], self._acceleration[: self._count]


def temperature_of(times: NDArray[np.float64], celsius: NDArray[np.float32]) -> Temperature | None:
    """Thermometer readings in order of time, (m,) each; None if there are none."""
    if not len(times):
        return None
    latest = np.maximum.accumulate(times)
    forward = np.concatenate([[True], times[1:] > latest[:-1]])
    return Temperature(times[forward], celsius[forward].astype(np.float32))
