"""The rows of one hourly file of NHANES: HEADER_TIMESTAMP,X,Y,Z."""

import io
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from data_shards.readers.oddities import REPAIR_SHARE
from data_shards.readers.tables.cells import numbers, texts
from data_shards.readers.tables.stamps import Stamps

COLUMNS = ("HEADER_TIMESTAMP", "X", "Y", "Z")
HEADER = ",".join(COLUMNS).encode()
_HEADER_ROW = re.compile(rb"^.*HEADER_TIMESTAMP.*$", re.IGNORECASE | re.MULTILINE)

Rows = tuple[NDArray[np.int64], NDArray[np.float32]]
"""Milliseconds since 1970 (n,), and acceleration (n, 3) in g, NaN where missing."""


def parse_hour(content: bytes) -> tuple[NDArray[np.int64], NDArray[np.float32], int]:
    """An hourly file: milliseconds since 1970 (n,), acceleration (n, 3) in g, NaN if missing, count of other lines.

    Raises:
        ValueError: it is not an hourly file, or more than `REPAIR_SHARE` of its lines are not rows.
    """
    if not content.isascii():
        content = content.decode("utf-8", "replace").encode()  # the library passes on invalid rows as text
    header, line_end, rows = content.partition(b"\n")
    if header.strip() != HEADER:
        content = header.upper().replace(b" ", b"") + line_end + rows
    try:
        table, foreign = _table(content, {COLUMNS[0]: pa.timestamp("ms"), **dict.fromkeys(COLUMNS[1:], pa.float32())})
        milliseconds, acceleration = _typed(table)
    except ValueError:
        # A cell that is no number or time: find its row, which takes ten times as long.
        table, foreign = _table(content, dict.fromkeys(COLUMNS, pa.string()))
        milliseconds, acceleration = _parsed(table)
        foreign += table.num_rows - len(milliseconds)
    if foreign:
        _refuse_joined(content)
    if foreign > max(1, REPAIR_SHARE * (len(milliseconds) + foreign)):
        raise ValueError(f"{foreign} lines that are not rows")
    return milliseconds, acceleration, foreign


def _refuse_joined(content: bytes) -> None:
    """Raise ValueError if there is a second header row with other columns: the axes below it would be swapped."""
    headers = [re.sub(rb"[^A-Z0-9_,]", b"", row.upper()) for row in _HEADER_ROW.findall(content)]
    if len(set(headers)) > 1:
        raise ValueError("a second header row with other columns")


def _table(content: bytes, types: dict[str, pa.DataType]) -> tuple[pa.Table, int]:
    """The rows of four cells, and the number of other lines."""
    lines: list[str] = []

    def skip(line: pcsv.InvalidRow) -> str:
        lines.append(line.text)
        return "skip"

    table = pcsv.read_csv(
        io.BytesIO(content),
        read_options=pcsv.ReadOptions(use_threads=False),
        parse_options=pcsv.ParseOptions(invalid_row_handler=skip),
        convert_options=pcsv.ConvertOptions(
            include_columns=list(COLUMNS), column_types=types, strings_can_be_null=True
        ),
    )
    return table, len(lines)


def _typed(table: pa.Table) -> Rows:
    acceleration = np.empty((table.num_rows, 3), np.float32)
    for axis, name in enumerate(COLUMNS[1:]):
        acceleration[:, axis] = table[name].to_numpy()
    stamps = table[COLUMNS[0]]
    if stamps.null_count:
        raise ValueError("a row without a time")
    return stamps.to_numpy().astype("datetime64[ms]").astype(np.int64), acceleration


def _parsed(table: pa.Table) -> Rows:
    """Rows of text cells, without those in which one is neither a number, or a time, nor missing."""
    stamps, *axes = (pa.concat_arrays(table[name].chunks) for name in COLUMNS)
    reader = Stamps()
    if not reader.begin([cell or "" for cell in stamps[:1000].to_pylist()]):
        raise ValueError("no row has a time")
    seconds = reader.seconds(texts(stamps))
    odd = np.isnan(seconds)
    acceleration = np.empty((len(odd), 3), np.float32)
    for axis, column in enumerate(axes):
        with np.errstate(over="ignore"):  # infinite, and so missing
            acceleration[:, axis], words = numbers(column)
        odd |= words
    return np.rint(seconds[~odd] * 1000).astype(np.int64), acceleration[~odd]
