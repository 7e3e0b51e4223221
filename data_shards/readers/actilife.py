"""ActiLife's RAW export, and the like format of gt3x2csv: a header of ten lines, then text at the device's rate.

Layout: the first line gives the rate and the date format ("date format dd.MM.yyyy at 100 Hz"); `Start Time` and
`Start Date` follow. Rows are `x,y,z` in g, preceded by a timestamp if that was ticked at export; a line of column
names is optional. Inferred from exports of ActiLife 6; ActiGraph publishes no description.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_shards.readers.device_reader import HEAD_BYTES, DeviceReader, Found, ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.order import written
from data_shards.readers.tables.assembly import recording_of
from data_shards.readers.tables.dialect import SEPARATORS, Dialect, split, text_lines
from data_shards.readers.tables.stamps import Stamps, is_stamp, number_of
from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.text import CellTimes, CountedTimes, TextRows, Times
from harnet.errors import HarnetError

FIRST_LINE = re.compile(r"-+ *Data (?:File|Table|Table File) Created By ActiGraph .*", re.IGNORECASE)
HEADER_LINES = 10
"""Usual number of lines of the header, not counting blank ones."""
FIRST_ROWS = 1000
"""Number of rows whose times are compared with the header's start."""
DAY = 86_400.0
HEADING = b"Created By ActiGraph"
"""Part of the first line."""

_FORMAT = re.compile(r"date format (\S.*?)(?: at |  |$)", re.IGNORECASE)
_UNUSUAL = re.compile(r"y{4}\W*d|y{1,3}\W", re.IGNORECASE)
"""The day after the year, or a year of two digits first: such dates are read in another order, or not at all."""
_RATE = re.compile(r" at ([\d.,]+) *Hz", re.IGNORECASE)
_MODEL = re.compile(r"Created By ActiGraph ([\w+\-]{1,20})", re.IGNORECASE)
_SERIAL = re.compile(r"[A-Z]{2,4}[0-9A-Z]{6,14}")


@dataclass(frozen=True)
class Header:
    """Contents of the first ten lines."""

    rate: float
    """Samples per second."""
    start: float
    """Time of the first sample, in seconds since 1970 on the wearer's clock."""
    date_order: str
    """Order of day and month in the rows, as `Stamps` takes it."""
    serial: str
    """Serial number of the device; empty if not stated."""
    device: str
    """Manufacturer and model, such as "ActiGraph GT3X+"."""


class ActiLife(DeviceReader):
    """Reader of ActiLife RAW exports. Times are local to where the device was initialised."""

    kind = "ActiLife RAW .csv"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By its first line."""
        lines = [line for line in text_lines(head) if line.strip()]
        return bool(lines) and FIRST_LINE.fullmatch(_bare(lines[0])) is not None

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """None: the header states the units and the date format."""
        return {}

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` for an incomplete header, and for exports of epochs."""
        with path.open("rb") as file:
            lines = text_lines(file.read(HEAD_BYTES))
        header = _header(lines, path)
        dialect = _dialect(lines, path)
        tally = Tally(path)
        stamped = dialect.fields == 4
        times: Times = CountedTimes(header.start, header.rate, "local")
        if stamped:
            times = CellTimes(path, header.date_order)
        text = TextRows(path, dialect, range(dialect.fields), times, 1.0, tally)
        clock, rows = text.begun()
        rows = _as_announced(rows, header.start, path)
        about = {"device_id": header.serial} if header.serial else {}
        recording = recording_of(rows, clock, options, tally, rate=header.rate, device=header.device, about=about)
        yield Found(recording, label=path.stem)


def _as_announced(rows: Iterator[TableRows], start: float, path: Path) -> Iterator[TableRows]:
    """The same rows. Raises `HarnetError` if the first ones have another date than the header, `start` in seconds."""
    some = next(rows, None)
    if some is None:
        return
    first = float(np.median(some.times[:FIRST_ROWS])) if len(some) else start
    if abs(first - start) > DAY:
        raise HarnetError(
            f"{path}: the rows begin at {written(first)}, but the header's start is {written(start)}: export it again, "
            "with the same date format in both"
        )
    yield some
    yield from rows


def _header(lines: list[str], path: Path) -> Header:
    lines = [_bare(line) for line in lines if line.strip()][:HEADER_LINES]
    form, rate = _FORMAT.search(lines[0]), _RATE.search(lines[0])
    fields = {}
    for line in lines[1:]:
        for name in ("Serial Number:", "Start Time", "Start Date", "Epoch Period (hh:mm:ss)"):
            if line.startswith(name):
                fields[name] = line.removeprefix(name).strip()
    if fields.get("Epoch Period (hh:mm:ss)", "00:00:00").strip("0:") != "":
        raise HarnetError(f"{path}: counts per epoch, not acceleration: export RAW data from ActiLife")
    hertz = number_of(rate[1]) if rate else None
    if not hertz or form is None or "Start Time" not in fields or "Start Date" not in fields:
        raise HarnetError(
            f"{path}: the header lacks the rate (line 1: at … Hz), the date format (line 1), Start Time or Start Date: "
            "export it again"
        )
    order = "day" if form[1].lower().startswith("d") else "month"
    stamp = f"{fields['Start Date']} {fields['Start Time']}"
    stamps = Stamps(order)
    known = not _UNUSUAL.match(form[1]) and stamps.begin([stamp])
    start = stamps.seconds(np.array([stamp.encode()]))[0] if known else np.nan
    if np.isnan(start):
        raise HarnetError(
            f"{path}: start {stamp!r} is not a date in the format {form[1]} of line 1: export it "
            "again, with numbers for day, month and four-digit year"
        )
    serial = fields.get("Serial Number:", "")
    model = _MODEL.search(lines[0])
    device = f"ActiGraph {model[1]}" if model and not model[1].startswith("ActiLife") else "ActiGraph"
    return Header(hertz, float(start), order, serial if _SERIAL.fullmatch(serial) else "", device)


def _dialect(lines: list[str], path: Path) -> Dialect:
    """How the rows below the header are written."""
    met = 0
    below = len(lines)
    for index, line in enumerate(lines):
        if not line.strip():
            continue
        met += 1
        if met == HEADER_LINES + 1:
            below = index
        for separator in SEPARATORS[:-1]:
            cells = split(line, separator)
            numbers = [number_of(cell) is not None for cell in cells[-3:]]
            # Below a shorter header, rows begin earlier.
            if len(cells) not in (3, 4) or (met <= HEADER_LINES and not all(numbers)):
                continue
            if any("axis" in cell.casefold() for cell in cells):
                raise HarnetError(f"{path}: counts per epoch, not acceleration: export RAW data")
            named = not any(numbers) and all(cells) and not is_stamp(cells[0])
            skip = index + 1 if named else min(index, below)
            rows = [split(other, separator) for other in lines[index + named :] if other.strip()]
            usual = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(cells)
            if named and usual > len(cells):
                raise HarnetError(
                    f"{path}: rows have {usual} cells below {len(cells)} names: if that comes from decimal commas, "
                    "export with another separator"
                )
            if usual != len(cells) or (usual == 4 and not any(is_stamp(row[0]) for row in rows)):
                continue
            blank = sum(not other.strip() for other in lines[:skip])
            return Dialect(separator, (), len(cells), skip, blank=blank, heading=HEADING)
    raise HarnetError(
        f"{path}: no rows of x,y,z or of a stamp and x,y,z below the header: export RAW data again; if commas are also "
        "decimal signs, with another separator"
    )


def _bare(line: str) -> str:
    """The line without the quotes and separators that a spreadsheet puts around it."""
    return line.strip().strip('",;\t ')
