"""Handling of samples and temperatures shared by all readers."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.fillers import Fillers
from data_shards.readers.oddities import Tally
from data_shards.readers.order import written
from data_shards.recording import SampleChunk, Temperature
from harnet.errors import HarnetError

CELSIUS = (-40.0, 85.0)
"""Plausible readings of a device's thermometer, the range in which electronics work; anything else is a fault."""
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
            back = ~later & ~again
            tally.add("duplicate samples", int(again.sum()), f"the first at {written(times[np.argmax(again)])}")
            tally.add("backward times", int(back.sum()), f"the first at {written(times[np.argmax(back)])}")
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

    def __init__(self, tally: Tally) -> None:
        """`tally` counts the readings that are left out."""
        self._tally = tally
        self._times: list[NDArray[np.float64]] = []
        self._celsius: list[NDArray[np.float32]] = []
        self._count = 0

    def add(self, times: NDArray[np.float64], celsius: NDArray[np.float32]) -> None:
        """Add readings (m,) in the order of the file, without those that cannot be a temperature."""
        possible = (celsius >= CELSIUS[0]) & (celsius <= CELSIUS[1])  # False for NaN
        if not possible.all():
            first = int(np.argmin(possible))
            where = f"the first {celsius[first]:.4g} °C at {written(times[first])}"
            self._tally.add("missing temperatures", int((~possible).sum()), where)
            times, celsius = times[possible], celsius[possible]
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
