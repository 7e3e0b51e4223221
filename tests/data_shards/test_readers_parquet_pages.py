"""Damaged sizes in Parquet files: refused in one line, before Arrow allocates what they claim."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_shards.readers import load
from data_shards.readers.parquet_pages import PAGE
from data_shards.readers.thrift_compact import CompactReader, Malformed
from harnet.errors import HarnetError

ROWS = 2000
HUGE = 1_500_000_000


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """Counts what Arrow allocates during the test."""
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(usual)


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head, value = head + bytes([value & 0x7F | 0x80]), value >> 7
    return head + bytes([value])


def field(value: int) -> bytes:
    """A non-negative 32-bit number in a field whose number is one more than the last one's."""
    return b"\x15" + varint(2 * value)


def written(path: Path, **options: object) -> Path:
    seconds = 1_700_000_000 + np.arange(ROWS) / 50
    columns = {"time": seconds, **{axis: np.sin(seconds).astype("f4") for axis in "xyz"}}
    pq.write_table(pa.table(columns), path, row_group_size=ROWS // 2, **options)
    return path


def pages(path: Path, group: int = 0) -> list[int]:
    """The offsets of the pages of the first column: the dictionary, then data."""
    content = path.read_bytes()
    chunk = pq.ParquetFile(path).metadata.row_group(group).column(0)
    at = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
    stop = at + chunk.total_compressed_size
    found = []
    while at < stop:
        found.append(at)
        reader = CompactReader(content[at:stop])
        packed: int = reader.struct(PAGE)[3]
        at += reader.at + packed
    return found


def damage(path: Path, at: int, unpacked: int | None = None, packed: int | None = None, values: int = 0) -> None:
    """Change the sizes in the page header at a byte, or the number of values of a dictionary."""
    content = path.read_bytes()
    header = CompactReader(content[at:]).struct(PAGE)
    old = b"".join(field(header[number]) for number in (1, 2, 3))
    new = field(header[1]) + field(unpacked or header[2]) + field(packed or header[3])
    if values:  # the next field is 7, a struct that begins with the number of values
        old, new = old + b"\x4c" + field(header[7][1]), new + b"\x4c" + field(values)
    assert content[at:].startswith(old)
    rest = content[at + len(old) :]
    grown = len(new) - len(old)
    # Some bytes of the page are left out, so that the offsets in the footer stay right.
    path.write_bytes(content[:at] + new + rest[:200] + rest[200 + grown :])


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("page", [0, 1], ids=["dictionary", "data"])
@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"packed": HUGE}, r"a page of 1,500,000,000 bytes where [\d,]+ are left"),
        ({"unpacked": HUGE}, r"a page that unpacks to 1,500,000,000 bytes, in a column of [\d,]+"),
        ({"packed": HUGE, "unpacked": HUGE}, r"a page of 1,500,000,000 bytes where [\d,]+ are left"),
    ],
)
def test_a_page_of_gigabytes(
    tmp_path: Path, pool: pa.MemoryPool, version: str, page: int, sizes: dict[str, int], message: str
) -> None:
    path = written(tmp_path / "x.parquet", data_page_version=version)
    at = pages(path)[page]
    damage(path, at, **sizes)
    with pytest.raises(HarnetError, match=rf"x\.parquet: damaged Parquet file \(at byte {at:,}, {message}\): copy it"):
        list(load(path))
    assert pool.max_memory() < 10 << 20


def test_the_last_of_many_pages(tmp_path: Path, pool: pa.MemoryPool) -> None:
    path = written(tmp_path / "x.parquet", data_page_size=1000, write_batch_size=100, use_dictionary=False)
    assert len(pages(path, 1)) == 5
    damage(path, pages(path, 1)[-1], unpacked=HUGE)
    with pytest.raises(HarnetError, match="a page that unpacks to 1,500,000,000 bytes"):
        list(load(path))
    assert pool.max_memory() < 10 << 20


def test_a_dictionary_of_gigabytes(tmp_path: Path, pool: pa.MemoryPool) -> None:
    path = written(tmp_path / "x.parquet")
    damage(path, 4, values=300_000_000)
    with pytest.raises(HarnetError, match="at byte 4, a page of 300,000,000 values in 8,000 bytes"):
        list(load(path))
    assert pool.max_memory() < 10 << 20


@pytest.mark.parametrize("part", ["total_compressed_size", "total_uncompressed_size", "num_values"])
def test_a_footer_that_lies(tmp_path: Path, pool: pa.MemoryPool, part: str) -> None:
    path = written(tmp_path / "x.parquet")
    content = path.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    number = b"\x16" + varint(2 * getattr(pq.ParquetFile(path).metadata.row_group(0).column(0), part))
    assert number in content[footer:]
    lie = content[footer:-8].replace(number, b"\x16" + varint(2 << 40))
    path.write_bytes(content[:footer] + lie + len(lie).to_bytes(4, "little") + b"PAR1")
    with contextlib.suppress(HarnetError):
        list(load(path))
    assert pool.max_memory() < 10 << 20


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "zstd", "data_page_version": "2.0", "write_page_checksum": True, "write_page_index": True},
        {"compression": "none", "use_dictionary": False, "data_page_size": 500, "write_batch_size": 50},
        {"compression": "gzip", "use_dictionary": False, "column_encoding": {"time": "BYTE_STREAM_SPLIT"}},
        {"use_dictionary": False, "write_statistics": False},
    ],
)
def test_sound_files_are_read(tmp_path: Path, options: dict[str, object]) -> None:
    path = written(tmp_path / "x.parquet", **options)
    assert len(next(load(path)).recording.times) == ROWS


def test_nested_columns(tmp_path: Path) -> None:
    columns = {"time": [1.0, 2.0], "x": [[0.0] * 9, [0.0]], "y": [0.0, 0.0], "z": [1.0, 1.0]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(HarnetError, match=r"column 'x' contains list<.*>, not numbers: pass another with --columns"):
        list(load(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x15", "cut off"),
        (b"\x18\xff\xff\xff\xff\x0f", "cut off"),  # a text of 4 GB
        (b"\x19\xf1\xff\xff\xff\xff\x0f", "cut off"),  # a list of 4 billion booleans
        (b"\x19\xf3\xff\xff\xff\xff\x0f", "cut off"),  # ... and of bytes
        (b"\x15" + b"\x80" * 1000, "a number of more than 64 bits"),
        (b"\x1c" * 1000, "nested too deeply"),
        (b"\x19\x19" * 1000, "nested too deeply"),
        (b"\x15\x02\x05\x02\x04", "field 1 occurs twice"),
        (b"\x1b\x01", "a value of type 11"),
    ],
)
def test_no_struct(content: bytes, message: str) -> None:
    with pytest.raises(Malformed, match=message):
        CompactReader(content).struct(PAGE)
