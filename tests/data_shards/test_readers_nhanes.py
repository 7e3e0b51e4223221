"""NHANES tars, made here in the format of the data documentation."""

import bz2
import gzip
import io
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_shards.notes import Note
from data_shards.readers import ReadOptions, load, nhanes, reader_for
from data_shards.readers.nhanes import on_grid
from harnet.errors import HarnetError

FIRST = np.datetime64("2000-01-06T12:30:00", "ms")
ROWS = 800
"""Ten seconds stand for an hour."""


def start(number: int) -> np.datetime64:
    return FIRST if number == 0 else np.datetime64("2000-01-06T12:00:00", "ms") + np.timedelta64(number, "h")


def values(number: int) -> np.ndarray:
    return np.round(np.random.default_rng(number).uniform(-6.006, 6.006, (ROWS, 3)), 3)


def text(number: int) -> str:
    # Steps of 12.5 ms as CDC writes them: .000 .013 .025 .038
    stamps = start(number) + np.floor(np.arange(ROWS) * 12.5 + 0.5).astype("timedelta64[ms]")
    rows = zip(np.datetime_as_string(stamps), values(number).tolist(), strict=True)
    lines = [f"{stamp.replace('T', ' ')},{x},{y},{z}" for stamp, (x, y, z) in rows]
    return "\n".join(["HEADER_TIMESTAMP,X,Y,Z", *lines]) + "\n"


def name(number: int) -> str:
    stamp = str(start(number).astype("datetime64[s]")).replace("T", "-").replace(":", "-")
    return f"62161/GT3XPLUS-AccelerationCalibrated-2x5x0.NEO1G22051089.{stamp}-000-P0000.sensor.csv.gz"


LOGS = (
    "DAY_OF_DATA,START_TIME,END_TIME,DATA_QUALITY_FLAG_CODE,DATA_QUALITY_FLAG_VALUE\n"
    "1,12:30:01.000,12:30:02.000,SPIKE,3\n2,01:00:00.000,02:00:00.000,MAX_G,9\n,,,,\n"
)


def members() -> dict[str, bytes]:
    return {
        "62161/62161_Logs.csv": LOGS.encode(),
        # Out of order on purpose.
        **{name(number): gzip.compress(text(number).encode()) for number in (2, 0, 3, 1)},
    }


def write(path: Path, contents: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for member, content in contents.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def g(numbers: list[int]) -> np.ndarray:
    return np.concatenate([values(number) for number in numbers]).astype(np.float32)


def exact(numbers: list[int]) -> np.ndarray:
    return np.concatenate([start(number).astype("int64") / 1000 + np.arange(ROWS) / 80 for number in numbers])


@pytest.mark.parametrize(
    ("file", "mode"),
    [("62161.tar", "w"), ("62161.tar.gz", "w:gz"), ("62161.tgz", "w:gz"), ("62161.tar.bz2", "w:bz2")],
)
def test_hours_in_order_times_on_the_grid_and_who(tmp_path: Path, file: str, mode: str) -> None:
    path = write(tmp_path / file, members(), mode)
    (found,) = load(path)
    assert (found.label, found.participant) == ("62161", "62161")
    assert reader_for(path, ReadOptions()).label(path) == "62161"
    recording = found.recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 2, 3]))
    np.testing.assert_array_equal(recording.times, exact([0, 1, 2, 3]))
    assert (recording.nominal_rate, recording.range_g, recording.clock) == (80, 6, "local")
    assert recording.notes == (Note("flagged ranges", 2, "by NHANES"),)
    assert recording.metadata == {"device_id": "NEO1G22051089", "firmware": "2.5.0", "flagged_ranges": 2}


def test_hours_that_are_not_compressed(tmp_path: Path) -> None:
    contents = {name(number).removesuffix(".gz"): text(number).encode() for number in (0, 1)}
    recording = next(load(write(tmp_path / "1.tar", contents))).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 1]))
    assert recording.notes == ()


def spoilt(how: str) -> bytes:
    rows = text(1)
    if how == "cut":
        return gzip.compress(rows.encode())[:2000]
    if how == "flipped":
        content = bytearray(gzip.compress(rows.encode()))
        content[len(content) // 2] ^= 1
        return bytes(content)
    rows = {
        "not gzip": "",
        "empty": "",
        "column": rows.replace("X,Y,Z", "X,Y,W"),
        "text": rows.replace(",", ",oops", 5),
        "time": rows.replace("2000-01-06 13:00:00.013", "2000-13-06 13:00:00.013"),
        "missing": rows.replace(f",{values(1)[3, 0]},", ",,"),
        "nan": rows.replace(f",{values(1)[3, 0]},", ",inf,"),
    }[how]
    return b"not gzip" if how == "not gzip" else gzip.compress(rows.encode())


@pytest.mark.parametrize("how", ["flipped", "not gzip", "empty", "column", "text"])
def test_a_damaged_hour_is_dropped_and_named(tmp_path: Path, how: str) -> None:
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): spoilt(how)}))).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 2, 3]))
    np.testing.assert_array_equal(recording.times, exact([0, 2, 3]))
    assert str(recording.notes[0]).startswith("damaged blocks: 1 (hours, of 4; 2000-01-06-13-00-00: ")
    assert not any("\n" in note.detail for note in recording.notes)


@pytest.mark.parametrize("how", ["missing", "nan"])
def test_a_row_without_a_value_is_missing(tmp_path: Path, how: str) -> None:
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): spoilt(how)}))).recording
    assert recording.notes[0] == Note("missing values", 1, "rows of 2000-01-06-13-00-00")
    np.testing.assert_array_equal(recording.acceleration, np.delete(g([0, 1, 2, 3]), ROWS + 3, axis=0))


def test_an_hour_that_is_cut_off_keeps_its_whole_rows(tmp_path: Path) -> None:
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): spoilt("cut")}))).recording
    assert recording.notes[0] == Note("cut end", 1, "hour 2000-01-06-13-00-00")
    there = len(recording.acceleration) - 3 * ROWS
    assert 50 < there < ROWS
    np.testing.assert_array_equal(recording.acceleration, np.concatenate([g([0]), g([1])[:there], g([2, 3])]))


@pytest.mark.parametrize("line", ["the end", "2000-01-06 13:00:09.98", "a,b"])
def test_a_line_that_is_no_row(tmp_path: Path, line: str) -> None:
    changed = gzip.compress((text(1) + line).encode())
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): changed}))).recording
    assert recording.notes[0] == Note("foreign lines", 1, "rows of 2000-01-06-13-00-00")
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 2, 3]))


@pytest.mark.parametrize(
    "row", ["the,end,of,it", ",1,1,1", "2000-13-06 13:00:09.98,0,0,1", "2000-01-06 13:00:09.98,0,x,1"]
)
@pytest.mark.parametrize("place", [1, 400, ROWS + 1])
def test_a_row_with_an_unreadable_cell(row: str, place: int, tmp_path: Path) -> None:
    lines = text(1).splitlines()
    lines.insert(place, row)
    changed = gzip.compress(("\n".join(lines) + "\n").encode())
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): changed}))).recording
    assert recording.notes[0] == Note("foreign lines", 1, "rows of 2000-01-06-13-00-00")
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 2, 3]))
    np.testing.assert_array_equal(recording.times, exact([0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("header", "left", "note"),
    [
        ("header_timestamp, x, y, z", [0, 1, 2, 3], "foreign lines: 1 (rows of 2000-01-06-13-00-00)"),
        ("HEADER_TIMESTAMP,Z,Y,X", [0, 2, 3], "damaged blocks: 1 (hours, of 4; 2000-01-06-13-00-00: a second header"),
    ],
)
def test_a_header_row_inside_an_hour(header: str, left: list[int], note: str, tmp_path: Path) -> None:
    lines = text(1).splitlines()
    changed = gzip.compress("\n".join([*lines[:400], header, *lines[400:], ""]).encode())
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): changed}))).recording
    np.testing.assert_array_equal(recording.acceleration, g(left))
    assert str(recording.notes[0]).startswith(note)


@pytest.mark.parametrize(
    "header", ["header_timestamp,x,y,z", "HEADER_TIMESTAMP, X, Y, Z", "\ufeffHeader_Timestamp,X,Y,Z"]
)
def test_spellings_of_the_header_row(header: str, tmp_path: Path) -> None:
    changed = gzip.compress(text(1).replace("HEADER_TIMESTAMP,X,Y,Z", header).encode())
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): changed}))).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 2, 3]))


def test_hours_without_fractions_of_a_second_are_damaged(tmp_path: Path) -> None:
    hours = {name(number): gzip.compress(re.sub(r"(:\d\d)\.\d+", r"\1", text(number)).encode()) for number in (0, 1)}
    with pytest.raises(HarnetError, match=r"none of 2 hours is intact \([\d-]+: times without fractions of a second\)"):
        next(load(write(tmp_path / "1.tar", hours)))


@pytest.mark.parametrize("more", [name(1), name(7), "62161_Logs.csv"])
def test_hours_of_two_people_who_wore_one_device_are_refused(tmp_path: Path, more: str) -> None:
    contents = members() | {more.replace("62161", "62162"): gzip.compress(text(1).encode())}
    with pytest.raises(HarnetError, match=r"62161\.tar: files of 2 participants in one tar: pass one tar per partic"):
        next(load(write(tmp_path / "62161.tar", contents)))


def test_hours_of_two_devices_are_refused(tmp_path: Path) -> None:
    contents = {name(0): b"", name(1).replace("NEO1G22051089", "NEO1G22050000"): b""}
    with pytest.raises(
        HarnetError, match=r"1\.tar: hours of 2 devices \(NEO1G22050000, NEO1G22051089\) in one tar: pass"
    ):
        list(load(write(tmp_path / "1.tar", contents)))


def test_what_one_row_can_do_to_an_hour(tmp_path: Path) -> None:
    rows = text(1)
    stamps = [line.partition(",")[0] for line in rows.splitlines()]
    for old, new, note in (
        (stamps[300], "2000-01-09 13:00:03.738", "isolated stamps: 1"),
        (stamps[300], "2000-01-06 13:40:03.738", "isolated stamps: 1"),
        (
            f",{values(1)[299, 0]},",
            ",9999,",
            "absurd values: 1 (first 9999 g at 2000-01-06 13:00:03, of a device of ±6 g)",
        ),
    ):
        assert old in rows
        changed = gzip.compress(rows.replace(old, new, 1).encode())
        recording = next(load(write(tmp_path / "1.tar", members() | {name(1): changed}))).recording
        assert str(recording.notes[0]).startswith(note)
        np.testing.assert_array_equal(recording.acceleration, np.delete(g([0, 1, 2, 3]), ROWS + 299, axis=0))


def test_rows_and_hours_that_are_there_twice(tmp_path: Path) -> None:
    head, *lines = text(1).splitlines()
    twice = gzip.compress("\n".join([head, *(each for line in lines for each in (line, line))]).encode())
    recording = next(load(write(tmp_path / "1.tar", members() | {name(1): twice}))).recording
    assert recording.notes[0] == Note("repeated blocks", ROWS, "rows of 2000-01-06-13-00-00")
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 2, 3]))
    for first in (gzip.compress(text(1).encode()), b"not gzip"):
        again = {f"again/{name(1)}": gzip.compress(text(1).encode())}
        recording = next(load(write(tmp_path / "1.tar", members() | {name(1): first} | again))).recording
        np.testing.assert_array_equal(recording.acceleration, g([0, 1, 2, 3]))
        np.testing.assert_array_equal(recording.times, exact([0, 1, 2, 3]))
        assert (recording.notes[0] == Note("repeated blocks", 1, "hours")) == (first != b"not gzip")


def test_an_hour_that_unpacks_to_too_much_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nhanes, "MAX_HOUR_BYTES", 100_000)
    contents = members() | {name(1): gzip.compress(text(1).encode() + b" " * 100_000)}
    recording = next(load(write(tmp_path / "1.tar", contents))).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 2, 3]))


def test_a_cut_off_tar_keeps_its_hours_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "1.tar", {name(number): gzip.compress(text(number).encode()) for number in range(4)})
    with tarfile.open(path) as archive:
        third = archive.getmembers()[2]
    content = path.read_bytes()
    cut_off = Note("cut end", 1, "after the last readable member: hours may be missing")
    for stop in (third.offset, third.offset + 100):  # between members, and within a member's header
        path.write_bytes(content[:stop])
        recording = next(load(path)).recording
        np.testing.assert_array_equal(recording.acceleration, g([0, 1]))
        assert recording.notes == (cut_off,)
    path.write_bytes(content[: third.offset_data + 100])  # within a member's content
    recording = next(load(path)).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 1]))
    assert str(recording.notes[0]).startswith("damaged blocks: 1 (hours, of 3; 2000-01-06-14-00-00: ")
    broken = bytearray(content)
    broken[third.offset + 5] ^= 1  # a member's header: the following members cannot be found
    path.write_bytes(broken)
    recording = next(load(path)).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 1]))
    assert recording.notes == (cut_off,)


def test_hours_are_never_written_to_their_paths(tmp_path: Path) -> None:
    evil = {f"../../{name(0)}": gzip.compress(text(0).encode()), f"/{name(1)}": gzip.compress(text(1).encode())}
    link = tarfile.TarInfo(name(2))
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    path = write(tmp_path / "1.tar", evil)
    with tarfile.open(path, "a") as archive:
        archive.addfile(link)
    recording = next(load(path)).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 1]))
    assert [each.name for each in tmp_path.iterdir()] == ["1.tar"]


def test_an_unreadable_list_of_flags_says_so(tmp_path: Path) -> None:
    contents = {f"{member}": content for member, content in members().items() if "Logs" not in member}
    recording = next(load(write(tmp_path / "1.tar", contents | {"1_Logs.csv.gz": b"not gzip"}))).recording
    assert recording.notes == (Note("damaged blocks", 1, "the list of ranges flagged by NHANES"),)
    assert "flagged_ranges" not in recording.metadata


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "other.tar", {"readme.md": b"hello"})
    with pytest.raises(HarnetError, match=r"an archive \(tar\) that may hold recordings: unpack it"):
        list(load(path))
    path = write(tmp_path / "logs.tar", {"62161_Logs.csv": LOGS.encode()})
    with pytest.raises(HarnetError, match=r"logs\.tar: a tar without files called GT3XPLUS"):
        list(load(path))
    path = write(tmp_path / "bad.tar.bz2", {name(0): b"bad", name(1): b"bad"}, "w:bz2")
    with pytest.raises(
        HarnetError, match=r"bad\.tar\.bz2: none of 2 hours is intact \(2000-01-06-12-30-00: "
    ) as caught:
        list(load(path))
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(nhanes, "MAX_HOURS", 3)
    with pytest.raises(HarnetError, match="more than 3 hourly files"):
        list(load(write(tmp_path / "many.tar", members())))


def test_a_bz2_that_ends_early_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.tar", members())
    (tmp_path / "1.tar.bz2").write_bytes(bz2.compress(path.read_bytes())[:-20])
    with pytest.raises(HarnetError, match=r"1\.tar\.bz2: the compressed file is damaged or cut off"):
        list(load(tmp_path / "1.tar.bz2"))


@given(st.integers(0, 2**31), st.sampled_from([np.floor, np.rint, np.ceil]), st.lists(st.integers(1, 400)))
def test_rounding_to_milliseconds_is_undone_whichever_way(first: int, rounding: np.ufunc, steps: list[int]) -> None:
    """Any multiples of 1/80 s, including gaps, are recovered from the written stamps."""
    ticks = first + np.concatenate([[0], np.cumsum(steps)])
    written = rounding(ticks * 12.5).astype(np.int64)
    np.testing.assert_array_equal(on_grid(written), ticks / 80)


def test_times_that_are_no_grid_stay_as_they_are() -> None:
    off = np.array([0, 12, 31, 44])
    np.testing.assert_array_equal(on_grid(off), off / 1000)
    twice = np.array([0, 12, 13, 25])
    np.testing.assert_array_equal(on_grid(twice), twice / 1000)
