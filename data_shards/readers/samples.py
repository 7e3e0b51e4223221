"""Handling of samples and temperatures shared by all readers."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.fillers import Fillers
from data_shards.readers.oddities import Tally
from data_shards.recording import SampleChunk, Temperature
from harnet.errors import HarnetError

MOST_READINGS = 1 << 22
"""Maximum number of temperature readings kept: 58 days of an AX3 at 1.2 s. Beyond, every second one is dropped."""


def forward(pieces: Iterable[SampleChunk], tally: Tally, rate: float) -> Iterator[SampleChunk]:
    """Yield the samples that are later than all previous ones and no fillers; the others are dropped and counted.

    Raises:
        HarnetError: at the end, if there are more oddities than can be repaired, as after a clock reset, or only
            fillers.
    """
    latest = -np.inf
    total = 0
    fillers = Fillers(rate, tally)
    for piece in pieces:
        total += len(piece.times)
        assert piece.acceleration.shape == (len(piece.times), 3)
        times, acceleration = fillers.without(piece)
        if not len(times):
            continue
        if times[0] <= latest or not (np.diff(times) > 0).all():
            before = np.maximum.accumulate(np.concatenate([[latest], times]))[:-1]
            later, again = times > before, times == before
            tally.add("duplicate samples", int(again.sum()))
            tally.add("backward times", int((~later & ~again).sum()))
            times, acceleration = times[later], acceleration[later]
        if len(times):
            latest = float(times[-1])
            yield SampleChunk(times, acceleration)
    # The readers have dropped absurd values before.
    tally.judge(total + tally.count("absurd values"))
    if total and tally.count("repeated fillers") == total:
        raise HarnetError(f"{tally.named}: all {total:,} samples repeat a value that no sensor measures: exclude it")


class Thermometer:
    """Collects a device's temperature while its samples are read."""

    def __init__(self) -> None:
        self._times: list[NDArray[np.float64]] = []
        self._celsius: list[NDArray[np.float32]] = []
        self._count = 0

    def add(self, times: NDArray[np.float64], celsius: NDArray[np.float32]) -> None:
        """Add readings (m,) in the order of the file."""
        self._times.append(times.copy())  # a view would keep the whole array in memory
        self._celsius.append(celsius.astype(np.float32))
        self._count += len(times)
        if self._count > MOST_READINGS:
            self._times = [np.concatenate(self._times)[::2]]
            self._celsius = [np.concatenate(self._celsius)[::2]]
            self._count = len(self._times[0])

    def temperature(self) -> Temperature | None:
        """The readings in order of time; None if there are none."""
        if not self._count:
            return None
        times, celsius = np.concatenate(self._times), np.concatenate(self._celsius)
        latest = np.maximum.accumulate(times)
        forward = np.concatenate([[True], times[1:] > latest[:-1]])
        return Temperature(times[forward], celsius[forward])
