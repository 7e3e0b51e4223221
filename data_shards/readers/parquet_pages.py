"""Page headers of a Parquet file, checked before Arrow reads the pages.

Arrow allocates the size that a page header states before it finds that the file is shorter, and has no limit for it: a
few damaged bytes in a small file cost gigabytes. The footer is parsed here too, because pyarrow's own access to the
metadata of a column ends the process if its statistics are damaged. Format: parquet.thrift of apache/parquet-format.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from data_shards.readers.thrift_compact import CompactReader, Malformed, Truncated, Wanted
from harnet.errors import HarnetError

MAX_PAGE_BYTES = 512 << 20
"""Maximum size of an unpacked page. Arrow writes 1 MiB; fastparquet, with the largest of the known writers, 500 MiB."""
USUAL_PAGE_BYTES = 32 << 20
"""A page may unpack to this much even where the footer gives the whole column less: not all writers count it."""
MAX_ENTRIES = 1 << 24
"""Maximum number of values in a dictionary, for which Arrow needs up to 16 bytes each."""
MAX_FOOTER_BYTES = 64 << 20
SLACK_BYTES = 100
"""Old writers left a header out of the size of a column, so Arrow reads this far beyond it (PARQUET-816)."""
HEADER_BYTES = (1 << 10, 1 << 24)
"""How much to read for a page header: enough for numbers, then Arrow's maximum, for statistics of long texts."""
DATA, DICTIONARY, DATA_V2 = 0, 2, 3

FOOTER: Wanted = {4: {1: {3: {5: {}, 6: {}, 7: {}, 9: {}, 11: {}}}}}
"""FileMetaData.row_groups.columns.meta_data: number of values, sizes unpacked and packed, offsets of both kinds."""
PAGE: Wanted = {1: {}, 2: {}, 3: {}, 5: {1: {}}, 7: {1: {}}, 8: {1: {}}}
"""PageHeader: type, size unpacked and packed, and the number of values of each type of page."""
COUNTS = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}
"""Type of page → the field with its number of values."""


def check_pages(path: Path, columns: Collection[int]) -> None:
    """Check every page header of these columns, which are counted as in the schema.

    Raises:
        HarnetError: the footer cannot be parsed, or a page claims a size that it cannot have.
    """
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            for group in _row_groups(file, size):
                for column in columns:
                    _check_chunk(file, size, _chunk(group, column))
        except Malformed as error:
            raise HarnetError(f"{path}: damaged Parquet file ({error}): copy it again") from error


def _row_groups(file: IO[bytes], size: int) -> list[Any]:
    """The row groups in the footer, which Arrow has already found to be readable."""
    file.seek(size - 8)
    length = int.from_bytes(file.read(4), "little")
    if length > min(MAX_FOOTER_BYTES, size - 8):
        raise Malformed(f"a footer of {length:,} bytes")
    file.seek(size - 8 - length)
    groups = CompactReader(file.read(length)).struct(FOOTER).get(4)
    return groups if isinstance(groups, list) else []


def _chunk(group: Any, column: int) -> dict[int, Any]:
    try:
        chunk: dict[int, Any] = group[1][column][3]
    except (KeyError, IndexError, TypeError) as error:
        raise Malformed(f"a row group without column {column + 1}") from error
    return chunk


def _check_chunk(file: IO[bytes], size: int, chunk: dict[int, Any]) -> None:
    values, unpacked, packed, data = (_integer(chunk, number) for number in (5, 6, 7, 9))
    dictionary = chunk.get(11)
    at = dictionary if isinstance(dictionary, int) and 0 < dictionary < data else data
    if not 0 <= at <= at + packed <= size:
        raise Malformed(f"{packed:,} bytes from byte {at:,} on, of {size:,}")
    stop = min(at + packed + SLACK_BYTES, size)
    while values > 0 and at < stop:
        header, length = _header(file, at, stop)
        try:
            values -= _checked(header, stop - at - length, unpacked)
        except Malformed as error:
            raise Malformed(f"at byte {at:,}, {error}") from error
        at += length + header[3]


def _header(file: IO[bytes], at: int, stop: int) -> tuple[dict[int, Any], int]:
    """The page header at a byte of the file, and its length."""
    for size in HEADER_BYTES:
        file.seek(at)
        reader = CompactReader(file.read(min(size, stop - at)))
        try:
            return reader.struct(PAGE), reader.at
        except Truncated:
            continue
        except Malformed as error:
            raise Malformed(f"at byte {at:,}, no page header: {error}") from error
    raise Malformed(f"at byte {at:,}, a page header without an end")


def _checked(header: dict[int, Any], room: int, unpacked: int) -> int:
    """The number of values in a page: 0 for a dictionary, and for types of pages that Arrow skips."""
    kind, size, packed = (_integer(header, number) for number in (1, 2, 3))
    if not 0 <= packed <= room:
        raise Malformed(f"a page of {packed:,} bytes where {room:,} are left")
    if not 0 <= size <= min(MAX_PAGE_BYTES, max(USUAL_PAGE_BYTES, unpacked)):
        raise Malformed(f"a page that unpacks to {size:,} bytes, in a column of {unpacked:,}")
    if kind not in COUNTS:
        return 0
    values = _integer(header, COUNTS[kind], 1)
    if values < 0 or (kind == DICTIONARY and values > min(MAX_ENTRIES, size)):
        raise Malformed(f"a page of {values:,} values in {size:,} bytes")
    return 0 if kind == DICTIONARY else values


def _integer(fields: dict[int, Any], *places: int) -> int:
    value: Any = fields
    for place in places:
        value = value.get(place) if isinstance(value, dict) else None
    if not isinstance(value, int):
        raise Malformed(f"no field {places[0]}")
    return value
