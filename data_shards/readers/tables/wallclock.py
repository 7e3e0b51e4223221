"""Stamps of the clock on the wall → the clock that the recording began with, which is never set again.

That clock is what `Recording.clock == "local"` means; facts by hour of the day follow the wall later, by the zone.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from data_shards.readers.tables.table_rows import TableRows
from harnet.errors import HarnetError

HOUR = 3600.0
NEAR = 60.0
"""Seconds by which a step may differ from an hour, for want of samples, and be a change of the clocks."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class WallClock:
    """Takes rows in pieces whose times are local, and gives them back with the changes of the clocks undone."""

    def __init__(self, place: ZoneInfo | None, named: object, where: str) -> None:
        self._place = place
        self._named = named
        self._where = where
        self._shift = 0.0
        self._last = np.nan

    def feed(self, rows: TableRows) -> TableRows:
        """The same rows on the clock of the first one.

        Raises:
            HarnetError: stamps go back by an hour, and no zone is known that tells why.
        """
        if not len(rows):
            return rows
        step = np.diff(rows.times, prepend=self._last)
        self._last = float(rows.times[-1])
        shift = np.full(len(rows), self._shift)
        for index in np.flatnonzero((step < -NEAR) | (np.abs(step - HOUR) < NEAR)).tolist():
            change = self._change(float(rows.times[index] - step[index]), float(step[index]))
            if change is None and abs(step[index] + HOUR) < NEAR:
                raise HarnetError(self._advice(int(rows.number[index])))
            shift[index:] -= change or 0
        self._shift = float(shift[-1])
        return TableRows(rows.number, rows.times + shift, rows.acceleration) if shift.any() else rows

    def _change(self, before: float, step: float) -> float | None:
        """Seconds that the clocks were put forward between two stamps; negative if back; None if they were not."""
        if self._place is None:
            return None
        if step < 0:
            change = _at(before + step, self._place)
            return change if change < 0 and step - change > 0 else None
        change = _at(before + step / 2, self._place)
        return change if change > 0 and abs(step - change) < NEAR else None

    def _advice(self, number: int) -> str:
        if self._place is None:
            return (
                f"{self._named}: local times go back by an hour in {self._where} {number:,}: if the clocks went back "
                "there, say where the wearer was with --timezone, such as Europe/London"
            )
        return (
            f"{self._named}: local times go back by an hour in {self._where} {number:,}, when the clocks in "
            f"{self._place.key} did not: is --timezone right? If the clock was reset, split the file there"
        )


def _at(local: float, place: ZoneInfo) -> float:
    """Seconds by which the clocks are changed around a local time that comes twice (negative) or never (positive)."""
    naive = (_EPOCH + timedelta(seconds=local)).replace(tzinfo=place)
    first, second = (naive.replace(fold=fold).utcoffset() or timedelta() for fold in (0, 1))
    return (second - first).total_seconds()
