"""Empatica E4 `ACC.csv`.

Layout, from the manufacturer's note in each export: row 1 is the UNIX time (UTC) of the first sample, row 2 the
sampling rate, both repeated for each axis; then `x,y,z` in units of 1/64 g. In some published datasets, row 1 is a date
and time of day, in UTC too.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from data_shards.readers.device_reader import HEAD_BYTES, DeviceReader, Found, ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.tables.assembly import recording_of
from data_shards.readers.tables.dialect import SEPARATORS, Dialect, split, text_lines
from data_shards.readers.tables.stamps import FIRST_CLOCK_SECOND, LAST_CLOCK_SECOND, Stamps, is_stamp, number_of
from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.text import CountedTimes, TextRows
from harnet.errors import HarnetError

UNITS_PER_G = 64
"""Scale of the integers in the file."""
RANGE_G = 2.0
"""The E4's fixed full scale (manufacturer's data sheet)."""
MOST_HZ = 1000.0
"""Upper limit of a plausible rate. The E4 has 32 Hz; other programs that write this format may differ."""


class Empatica(DeviceReader):
    """The file is always called ACC.csv, so the recording is named after the folder that holds it."""

    kind = "Empatica E4 ACC.csv"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By its first two rows: three times a time, and three times a number."""
        return _two_rows(text_lines(head)) is not None

    def label(self, path: Path) -> str:
        """The name of the folder that holds the file."""
        return path.resolve().parent.name

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` for an impossible rate, or damage that cannot be repaired."""
        with path.open("rb") as file:
            found = _two_rows(text_lines(file.read(HEAD_BYTES)))
        if found is None:
            raise HarnetError(f"{path}: its first rows are not the start and the sampling rate: export the file again")
        dialect, first, rate = found
        if not 0 < rate <= MOST_HZ:
            raise HarnetError(f"{path}: row 2 gives a sampling rate of {rate:g}: export the file again")
        start = _start(first, path, options)
        tally = Tally(path)
        text = TextRows(path, dialect, range(3), CountedTimes(start, rate, "utc"), UNITS_PER_G, tally)
        clock, rows = text.begun()
        rows = _of_one_session(rows, path)
        recording = recording_of(rows, clock, options, tally, rate=rate, device="Empatica E4", range_g=RANGE_G)
        yield Found(recording, label=self.label(path))


def _of_one_session(rows: Iterable[TableRows], path: Path) -> Iterator[TableRows]:
    """The same rows; `HarnetError` if one is the start of another session, whose samples would get wrong times."""
    for some in rows:
        start = (some.acceleration >= FIRST_CLOCK_SECOND / UNITS_PER_G).all(axis=1)
        if start.any():
            raise HarnetError(
                f"{path}: line {some.number[start][0]:,} is the start of another session: files were joined: split it "
                "there"
            )
        yield some


def _start(cell: str, path: Path, options: ReadOptions) -> float:
    """Seconds since 1970 of the first sample. Raises `HarnetError` if the cell is not a plausible time."""
    start = number_of(cell)
    if start is None:
        stamps = Stamps("day" if options.day_first else "")
        try:
            stamps.begin([cell])
        except HarnetError as error:
            raise HarnetError(f"{path}: {error}") from error
        start = float(stamps.seconds(np.array([cell.encode()]))[0])
    if not FIRST_CLOCK_SECOND <= start <= LAST_CLOCK_SECOND:
        raise HarnetError(f"{path}: row 1 gives a start of {cell[:40]}, not UNIX seconds: export the file again")
    return start


def _two_rows(lines: list[str]) -> tuple[Dialect, str, float] | None:
    """The dialect, the start as written, and the rate; None if a row does not hold the same cell three times."""
    there = [index for index, line in enumerate(lines) if line.strip()][:2]
    if len(there) < 2:
        return None
    for separator in SEPARATORS:
        rows = [split(lines[index], separator) for index in there]
        if not all(len(cells) == 3 for cells in rows):
            continue
        stamped = len(set(rows[0])) == 1 and is_stamp(rows[0][0])
        starts, rates = ({number_of(cell) for cell in cells} for cells in rows)
        if len(rates) == 1 and None not in rates and (stamped or (len(starts) == 1 and None not in starts)):
            rate = rates.pop()
            assert rate is not None
            return Dialect(separator, (), 3, there[1] + 1, blank=there[1] - 1), rows[0][0], rate
    return None
