"""Small inputs found by fuzzing: each one used to cause an exception in a library."""

import contextlib
import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_shards.readers import load
from data_shards.readers.oddities import Tally
from data_shards.readers.tables.spread import evened
from data_shards.readers.tables.table_rows import TableRows
from data_shards.readers.tables.values import Values
from harnet.errors import HarnetError
from tests.data_shards import test_readers_nhanes as nhanes

ROWS = "".join(f"{1_700_000_000 + number / 50},0.1,0.2,0.97\n" for number in range(200))


def test_bytes_that_are_no_utf8_in_a_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(b"time,x,y,z\n" + ROWS.encode() + b"1700000010,\xff\xfe,3\n" + ROWS.encode()[-20:])
    assert len(next(load(path)).recording.times) == 200


def test_rows_of_fewer_cells_than_the_header_row(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("t,time,x,y,z\n" + ROWS)
    with pytest.raises(HarnetError, match=r"x\.csv: most rows have 4 cells, too few for the columns time, x, y, z"):
        list(load(path))


@pytest.mark.parametrize("place", [0, 30, 100, 200])
def test_a_time_that_is_infinite(place: int, tmp_path: Path) -> None:
    lines = ROWS.splitlines(keepends=True)
    lines.insert(place, "1e999,0.1,0.2,0.97\n")
    path = tmp_path / "x.csv"
    path.write_text("time,x,y,z\n" + "".join(lines))
    found = next(load(path)).recording
    assert (len(found.times), found.notes[0].kind, found.notes[0].count) == (200, "foreign lines", 1)


def test_a_value_beyond_float32_in_an_hour_with_a_row_of_text(tmp_path: Path) -> None:
    text = nhanes.text(1) + "2000-01-06 13:00:09.98,1e40,0,1\nthe,end,of,it\n"
    path = nhanes.write(tmp_path / "1.tar", {nhanes.name(0): gzip.compress(nhanes.text(0).encode()),
                                             nhanes.name(1): gzip.compress(text.encode())})  # fmt: skip
    found = next(load(path)).recording
    assert {note.kind: note.count for note in found.notes} == {"foreign lines": 1, "missing values": 1}
    assert len(found.times) == 2 * nhanes.ROWS


@pytest.mark.parametrize("times", [[0.0, 5e-324] * 3, [0, 1, 1e9, 1e9 + 1], [0, 1e300], [0, np.inf]])
def test_times_of_no_rate(tmp_path: Path, times: list[float]) -> None:
    columns = {"time": pa.array(times), **{axis: pa.array([0.1] * len(times)) for axis in "xyz"}}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with contextlib.suppress(HarnetError):
        list(load(tmp_path / "x.parquet"))


def test_values_at_both_ends_of_float32(tmp_path: Path) -> None:
    lines = [f"{1_700_000_000 + number / 50:.2f},0.1,{number % 7 / 100},0.97\n" for number in range(200)]
    lines[100:102] = ["1700000002.00,3e38,0.2,0.97\n", "1700000002.02,-3e38,0.2,0.97\n"]
    path = tmp_path / "x.csv"
    path.write_text("time,x,y,z\n" + "".join(lines))
    found = next(load(path)).recording
    assert (len(found.times), found.notes[0].kind, found.notes[0].count) == (198, "absurd values", 2)


def test_a_rate_beyond_any_integer() -> None:
    values = Values(Tally("x"), "row", 1e22)
    rows = TableRows(np.arange(4), np.arange(4) * 1e-22, np.float32([[0.1, 0.2, 1], [0.2, 0.1, 1]] * 2))
    assert len(values.feed(rows, last=True)) == 4


@pytest.mark.parametrize("column", ["time", "x"])
def test_a_signalling_nan(column: str, tmp_path: Path) -> None:
    columns = {"time": 1_700_000_000 + np.arange(200) / 50, **{axis: np.full(200, 0.5) for axis in "xyz"}}
    columns["x"] += np.arange(200) % 7 / 100
    columns[column][100:101] = np.array([0x7FF0000000000001], np.uint64).view(np.float64)
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    found = next(load(tmp_path / "x.parquet")).recording
    assert (len(found.times), found.notes[0].kind, found.notes[0].count) == (199, "missing values", 1)


def test_a_tar_that_announces_more_than_can_be_counted(tmp_path: Path) -> None:
    path = nhanes.write(tmp_path / "1.tar", {nhanes.name(0): gzip.compress(nhanes.text(0).encode())})
    with tarfile.open(path, "a", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo(nhanes.name(1))
        member.pax_headers = {"comment": "x"}
        archive.addfile(member)
    content = path.read_bytes()
    at = content.index(b" comment=x")
    start = content.rindex(b"\0", 0, at) + 1
    path.write_bytes(content[:start] + b"9" * 30 + content[start + 30 :])
    recording = next(load(path)).recording
    assert len(recording.times) == nhanes.ROWS


def test_a_directory_that_points_before_the_archive(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.csv", "time,x,y,z\n" + ROWS)
    content = bytearray(file.getvalue())
    end = content.rindex(b"PK\x05\x06")
    content[end + 16 : end + 20] = (int.from_bytes(content[end + 16 : end + 20], "little") + 9000).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(HarnetError, match=r"x\.zip: the zip archive is damaged or cut off"):
        list(load(tmp_path / "x.zip"))


def test_a_period_near_zero_asks_for_no_window_of_terabytes() -> None:
    times = np.array([0.0, 1e-12, 2e-12, 0.5, 0.5 + 1e-12])
    assert len(evened(times, 1e-13)) == 5
