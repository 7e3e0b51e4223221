"""Text tables such as CSV: one column of times and one per axis, identified by a header row or by position."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_shards.readers.device_reader import PER_G, DeviceReader, Found, ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.tables.assembly import recording_of
from data_shards.readers.tables.column_names import meaning_of
from data_shards.readers.tables.dialect import DEFAULT_COLUMNS, column_names, no_header_hint, sniff, text_lines
from data_shards.readers.tables.text import CellTimes, TextRows
from harnet.errors import HarnetError

SNIFFED_BYTES = 1 << 16
"""Bytes read to detect the dialect: a header row with hundreds of columns is longer than `HEAD_BYTES`."""


class Table(DeviceReader):
    """Reader; times are UNIX seconds (UTC), seconds from the start (no clock), or ISO 8601 (UTC if with offset)."""

    kind = "CSV with the columns time,x,y,z (or those named with --columns)"

    @staticmethod
    def hint(head: bytes, columns: Sequence[str]) -> str:
        """What to do about a text table that is not recognised; empty if it does not look like one."""
        lines = text_lines(head)
        if names := column_names(lines):
            first = repr(",".join(names)[:100])
            if any(column.isdecimal() and int(column) > len(names) for column in columns):
                return f"its header row {first} names {len(names)} columns, too few for --columns {' '.join(columns)}"
            if set(DEFAULT_COLUMNS) <= set(map(meaning_of, names)):
                return f"below its header row {first}, rows are not numbers: export them as plain numbers"
            return f"its first line is {first}: name four of these with --columns"
        return no_header_hint(lines)

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By a header row with at least two of the wanted columns, so that a missing one can be reported; or, without a
        header row, by rows of a time and so many numbers that the columns are known by position."""
        return sniff(text_lines(head), options.columns) is not None

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """The options that determine the meaning of the numbers."""
        settings = {"columns": ",".join(options.columns), "units": options.units}
        if options.rate is not None:
            settings["rate"] = f"{options.rate:g}"
        return settings | ({"dates": "day first"} if options.day_first else {})

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` for a missing column, or damage that cannot be repaired."""
        with path.open("rb") as file:
            dialect = sniff(text_lines(file.read(SNIFFED_BYTES)), options.columns)
        if dialect is None:
            raise HarnetError(f"{path}: not a readable table: its first lines are neither a header row nor data")
        tally = Tally(path)
        places = dialect.places(options.columns, path)
        times = CellTimes(path, "day" if options.day_first else "", dialect.names[places[0]] if dialect.names else "")
        text = TextRows(path, dialect, places, times, PER_G[options.units], tally)
        clock, rows = text.begun()
        yield Found(recording_of(rows, clock, options, tally), label=path.stem)
