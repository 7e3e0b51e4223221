"""Converts wall-clock timestamps to the clock at the start of the recording, undoing later clock changes.

This is what `Recording.clock == "local"` means; statistics by hour of the day later convert back to the wall clock.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.timeline import FEW
from harnet.errors import HarnetError

HOUR = 3600.0
NEAR = 60.0
"""Tolerance in seconds when a step is taken for a clock change, since samples may be missing."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WallClock:
    """Takes rows with local times in chunks, and returns them with clock changes undone."""

    def __init__(self, place: ZoneInfo | None, named: object, where: str) -> None:
        self._place = place
        self._named = named
        self._where = where
        self._shift = 0.0
        self._last = np.nan

    def feed(self, rows: TableRows) -> TableRows:
        """The same rows on the clock of the first one.

        Raises:
            HarnetError: times go back by an hour without a known time zone that explains it.
        """
        if not len(rows):
            return rows
        step = np.diff(rows.times, prepend=self._last)
        self._last = float(rows.times[-1])
        shift = np.full(len(rows), self._shift)
        for index in np.flatnonzero(np.abs(step) > NEAR).tolist():
            change = self._change(float(rows.times[index] - step[index]), float(step[index]))
            if change is None and abs(step[index] + HOUR) < NEAR and not _returns(rows.times, index):
                raise HarnetError(self._advice(int(rows.number[index])))
            shift[index:] -= change or 0
        self._shift = float(shift[-1])
        return TableRows(rows.number, rows.times + shift, rows.acceleration) if shift.any() else rows

    def _change(self, before: float, step: float) -> float | None:
        """Seconds by which clocks were advanced between two timestamps; negative if set back; None if unchanged."""
        if self._place is None:
            return None
        if step < 0:
            change = _at(before + step, self._place)
            return change if change < 0 and step - change > 0 else None
        # Mostly an hour; half of one on Lord Howe Island, and a day in Samoa in 2011.
        change = _at(before + step / 2, self._place)
        skipped = change > 0 and abs(step - change) < NEAR
        return change if skipped and _at(before, self._place) <= 0 else None

    def _advice(self, number: int) -> str:
        if self._place is None:
            return (
                f"{self._named}: local times go back by an hour in {self._where} {number:,}: if the clocks went back "
                "there, pass the wearer's time zone with --timezone, such as Europe/London"
            )
        return (
            f"{self._named}: local times go back by an hour in {self._where} {number:,}, when the clocks in "
            f"{self._place.key} did not: is --timezone right? If the clock was reset, split the file there"
        )


def _returns(times: NDArray[np.float64], index: int) -> bool:
    """Whether only a few times, from `index` on, are an hour behind: these are isolated stamps."""
    return bool((times[index : index + FEW] - times[index] > HOUR - NEAR).any())


def _at(local: float, place: ZoneInfo) -> float:
    """Clock change in seconds around a local time that occurs twice (negative) or never (positive)."""
    naive = (_EPOCH + timedelta(seconds=local)).replace(tzinfo=place)
    first, second = (naive.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return (second - first).total_seconds()
