"""Empatica's ACC.csv."""

from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import Found, ReadOptions, load
from harnet.errors import HarnetError
from tests.data_shards.table_files import START, notes, signal


def found(path: Path, content: str, options: ReadOptions | None = None) -> Found:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    (only,) = load(path, options)
    return only


def test_empatica(tmp_path: Path) -> None:
    content = f"{START}.0, {START}.0, {START}.0\n32.0, 32.0, 32.0\n" + "-2,43,64\n0,1,2\n" * 8
    one = found(tmp_path / "S09" / "ACC.csv", content)
    assert one.label == "S09"
    assert (one.recording.clock, one.recording.nominal_rate, one.recording.range_g) == ("utc", 32.0, 2.0)
    np.testing.assert_array_equal(one.recording.acceleration[0], np.array([-2 / 64, 43 / 64, 1], np.float32))
    np.testing.assert_array_equal(one.recording.times, START + np.arange(16) / 32)


@pytest.mark.parametrize("line", [3, 4, 18])
def test_empatica_of_two_sessions_is_refused(line: int, tmp_path: Path) -> None:
    rows = ["-2,43,64"] * 16
    rows[line - 3 : line - 3] = [f"{START + 9000}.0,{START + 9000}.0,{START + 9000}.0", "32.0,32.0,32.0"]
    content = f"{START}.0,{START}.0,{START}.0\n32.0,32.0,32.0\n" + "\n".join(rows) + "\n"
    with pytest.raises(HarnetError, match=rf"ACC\.csv: line {line} is the start of another session: .*split it there"):
        found(tmp_path / "S" / "ACC.csv", content)


def test_empatica_cut_off_within_a_row(tmp_path: Path) -> None:
    one = found(tmp_path / "S09" / "ACC.csv", f"{START},{START},{START}\n32,32,32\n1,2,3\n4,5,6\n7,8")
    assert len(one.recording.times) == 2
    assert one.recording.notes == (Note("cut end", 1, "line 5"),)


@pytest.mark.parametrize(
    ("row", "trouble"),
    [
        ("a,2,3", "foreign lines: 2 of 5, the first in line 4, column 1"),
        ("1,,3", "missing values: 2 of 5, the first in line 4"),
        ("4", "missing values: 2 of 5, the first in line 4"),
        ("b", "foreign lines: 2 of 5, the first in line 4"),
    ],
)
def test_empatica_with_more_bad_rows_than_are_mended(tmp_path: Path, row: str, trouble: str) -> None:
    with pytest.raises(HarnetError, match=trouble):
        found(tmp_path / "S" / "ACC.csv", f"{START},{START},{START}\n32,32,32\n1,2,3\n{row}\n{row}\n4,5,6\n7,8,9\n")


E4 = "{start}{sep}{start}{sep}{start}\n{rate}{sep}{rate}{sep}{rate}\n"


@pytest.mark.parametrize(
    "start",
    [
        "1594920460",
        "1594920460.000000",
        "1.594920460E9",
        "1.59492046e+09",
        "2020-07-16 17:27:40",
        "2020-07-16T17:27:40Z",
    ],
)
@pytest.mark.parametrize("separator", [",", ", ", ";", "\t"])
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n"])
def test_empatica_headers(start: str, separator: str, before: bytes, tmp_path: Path) -> None:
    folder = tmp_path / "S1"
    folder.mkdir()
    rows = "\n".join(separator.join(map(str, row)) for row in np.rint(signal(640) * 64).astype(int)) + "\n"
    content = E4.format(start=start, rate="32.000000", sep=separator) + rows
    if separator == ";":
        content = content.replace(".", ",")
    (folder / "ACC.csv").write_bytes(before + content.encode())
    (found,) = load(folder / "ACC.csv")
    assert (found.label, found.recording.nominal_rate, found.recording.clock) == ("S1", 32, "utc")
    np.testing.assert_array_equal(found.recording.times, 1594920460 + np.arange(640) / 32)
    np.testing.assert_array_equal(found.recording.acceleration, np.rint(signal(640) * 64) / 64)


@pytest.mark.parametrize(
    ("row", "kind", "lost"),
    [
        *[("1,,3", "missing values", 1), ("hello", "foreign lines", 0), ("12,13", "missing values", 1)],
        *[("1", "missing values", 1), ("1,2,3,4,-5", "missing values", 1), ("a,b", "foreign lines", 0)],
    ],
)
def test_an_odd_row_of_an_empatica_moves_no_other(row: str, kind: str, lost: int, tmp_path: Path) -> None:
    rows = [",".join(map(str, row)) for row in np.rint(signal(640) * 64).astype(int)]
    rows[320 : 320 + lost] = [row]
    path = tmp_path / "ACC.csv"
    path.write_text(E4.format(start="1594920460", rate="32", sep=",") + "\n".join(rows) + "\n")
    (found,) = load(path)
    assert notes(found.recording) == {kind: 1}
    assert found.recording.times[-1] == 1594920460 + 639 / 32


def test_an_empatica_that_starts_with_a_date(tmp_path: Path) -> None:
    day_last = E4.format(start="07/08/2020 17:27:40", rate="32", sep=",") + "1,2,60\n4,5,60\n" * 40
    with pytest.raises(HarnetError, match=r"ACC\.csv: '07/08/2020 17:27:40': day or month first\? Pass --day-first"):
        found(tmp_path / "S" / "ACC.csv", day_last)
    options = ReadOptions(day_first=True)
    times = found(tmp_path / "S" / "ACC.csv", day_last, options).recording.times
    assert times[0] == np.datetime64("2020-08-07T17:27:40").astype("datetime64[s]").astype(int)
    joined = E4.format(start="2020-07-16 17:27:40", rate="32", sep=",") + "1,2,60\n" * 300
    with pytest.raises(HarnetError, match=r"ACC\.csv: line 303 is the start of another session: .*split it there"):
        found(tmp_path / "S" / "ACC.csv", joined * 2)
    with pytest.raises(HarnetError, match=r"ACC\.csv: row 1 gives a start of 1920-07-16 17:27:40, not UNIX seconds"):
        found(tmp_path / "S" / "ACC.csv", joined.replace("2020-", "1920-"))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("second", ["20200717T172740Z", "2020-07-17 17:27:40", "1594930460.0"])
@pytest.mark.parametrize("first", ["20200716 172740", "2020-07-16 17:27:40", "1594920460"])
def test_two_sessions_however_they_start(first: str, second: str, mark: bytes, tmp_path: Path) -> None:
    one, two = (E4.format(start=start, rate="32", sep=",") + "1,2,60\n4,5,60\n" * 40 for start in (first, second))
    path = tmp_path / "ACC.csv"
    path.write_bytes(one.encode() + mark + two.encode())
    with pytest.raises(HarnetError, match=r"ACC\.csv: line 83 is the start of another session: files were joined"):
        list(load(path))
