"""Tables of many origins: each oddity in all variants, compared with the same signal in a plain table."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_shards.readers.oddities import Tally
from data_shards.readers.tables import lines, timeline
from data_shards.readers.tables import text as tables_text
from data_shards.readers.tables.cells import Cells
from data_shards.readers.tables.dialect import Dialect
from data_shards.readers.tables.lines import LineChunk
from harnet.errors import HarnetError
from tests.data_shards.table_files import COUNT, RATE, START, assert_plain, local, notes, recording, rows, signal, text


def named(mark: str) -> Callable[[int], str]:
    """Local times with the English name of the month: 14-Nov-2023 22:13:20.000."""
    return lambda i: f"14{mark}Nov{mark}2023 {local(i).split()[1]}"


STAMPS: dict[str, tuple[Callable[[int], str], str]] = {
    "space": (local, "local"),
    "T and Z": (lambda i: local(i).replace(" ", "T") + "Z", "utc"),
    "offset and zone": (lambda i: local(i) + "+0000 [Europe/London]", "utc"),
    "offset after UTC": (lambda i: local(i + 360_000) + " UTC+01:00", "utc"),
    "offset with colon": (lambda i: local(i).replace(" ", "T") + "+00:00", "utc"),
    "java": (lambda i: local(i).replace(" ", "T").replace(".000", "") + "+00:00[Etc/UTC]", "utc"),
    "python": (lambda i: local(i).replace(".000", ""), "local"),
    "microseconds": (lambda i: local(i) + "000", "local"),
    "slashes": (lambda i: local(i).replace("-", "/"), "local"),
    "basic": (lambda i: local(i).replace("-", "").replace(":", "").replace(" ", "T") + "Z", "utc"),
    "MATLAB": (named("-"), "local"),
    "SAS": (lambda i: named("")(i).upper().replace(" ", ":"), "local"),
    "English": (lambda i: named(" ")(i).replace("Nov", "November"), "local"),
    "comma": (lambda i: '"' + local(i).replace(".", ",") + '"', "local"),
    "milliseconds after a colon": (lambda i: local(i).replace(".", ":"), "local"),
    "milliseconds since 1970": (lambda i: f"{START * 1000 + i * 10}", "utc"),
    "microseconds since 1970": (lambda i: f"{START * 10**6 + i * 10**4}", "utc"),
    "nanoseconds since 1970": (lambda i: f"{START * 10**9 + i * 10**7}", "utc"),
    "exponent": (lambda i: f"{START + i / RATE:.12E}", "utc"),
}


@pytest.mark.parametrize("name", STAMPS)
def test_stamps(name: str, tmp_path: Path) -> None:
    stamp, clock = STAMPS[name]
    found = recording(tmp_path, text(rows(stamp=stamp)))
    assert_plain(found, clock)
    assert found.times[0] == START


@pytest.mark.parametrize("start", [0, 4000])
@pytest.mark.parametrize(
    ("name", "unit"),
    [
        *[("time", 1), ("Time/s", 1), ("time_ms", 1e3), ("Time (ms)", 1e3), ("timestamp_millis", 1e3)],
        *[("timestamp [us]", 1e6), ("Time (\u00b5s)", 1e6), ("time in \u03bcs", 1e6), ("time microseconds", 1e6)],
        *[
            ("time_ns", 1e9),
            ("Time [min]", 1 / 60),
            ("time (hours)", 1 / 3600),
            ("time_h", 1 / 3600),
            ("time d", 1 / 86400),
        ],
    ],
)
def test_the_unit_of_seconds_from_the_start(name: str, unit: float, start: int, tmp_path: Path) -> None:
    written = rows(stamp=lambda i: f"{(start + i / RATE) * unit:.{2 if unit >= 1 else 13}f}")
    table = text(written, f"{name},x,y,z")
    for encoding in ("utf-8", *(["latin-1"] if table.isascii() or "\u00b5" in table else [])):
        found = recording(tmp_path, table.encode(encoding))
        assert_plain(found, "none")
        assert found.times[0] == pytest.approx(start, abs=1e-6)


@pytest.mark.parametrize(("scale", "rate"), [(1e3, 0.1), (1e6, 1e-4)])
def test_a_unit_that_nothing_states_gives_an_impossible_rate(scale: float, rate: float, tmp_path: Path) -> None:
    assert recording(tmp_path, text(rows(stamp=lambda i: f"{i / RATE * scale:.0f}"))).nominal_rate == rate


def test_ticks_are_no_nanoseconds(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"time 63835\d{13} is not a UNIX time in s, ms, µs or ns"):
        recording(tmp_path, text(rows(stamp=lambda i: f"{621_355_968 * 10**9 + START * 10**7 + i * 10**5}")))


def test_columns_of_features_are_no_axes(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="name four of these with --columns"):
        recording(tmp_path, text(rows(), "time,x_min,y_min,z_min"))


def test_numbers_beyond_the_columns_of_the_header_row(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="'time,x,y,z' names 4 columns, too few for --columns 2 3 4 5;"):
        recording(tmp_path, text(rows()), columns=("2", "3", "4", "5"))


def dated(order: str, day: int) -> Callable[[int], str]:
    def stamp(index: int) -> str:
        parts = {"d": f"{day:02d}", "m": "11"}
        return "/".join([parts[order[0]], parts[order[1]], "2023"]) + " " + local(index).split(" ")[1]

    return stamp


@pytest.mark.parametrize(("order", "day", "told"), [("dm", 14, False), ("md", 14, False), ("dm", 5, True)])
def test_dates_with_the_year_last(order: str, day: int, told: bool, tmp_path: Path) -> None:
    found = recording(tmp_path, text(rows(stamp=dated(order, day))), day_first=told)
    assert_plain(found, "local")
    assert str(np.datetime64(int(found.times[0]), "s")).startswith(f"2023-11-{day:02d}T")


def test_dates_of_which_nobody_knows_the_order(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"day or month first\? Pass --day-first"):
        recording(tmp_path, text(rows(stamp=dated("dm", 5))))


@pytest.mark.parametrize("form", ["14.11.2023, {}", "14 November 2023, {}", "2023. 11. 14., {}", "14-Nov-23 {}"])
@pytest.mark.parametrize("separator", [";", "\t"])
def test_dates_with_a_comma_or_a_named_month_and_a_short_year(form: str, separator: str, tmp_path: Path) -> None:
    table = text(
        rows(separator, lambda index: form.format(local(index).split(" ")[1])), separator.join(("time", *"xyz"))
    )
    found = recording(tmp_path, table, day_first=True)
    assert_plain(found, "local")
    assert str(np.datetime64(int(found.times[0]), "s")).startswith("2023-11-14T22:13:20")
    if "-23" in form:
        with pytest.raises(
            HarnetError, match=r"'14-Nov-23 22:13:20\.000': which number is the year\? Give --day-first"
        ):
            recording(tmp_path, table)


def at(index: int, change: Callable[[str], list[str]]) -> str:
    table = rows()
    table[index : index + 1] = change(table[index])
    return text(table)


@pytest.mark.parametrize("index", [1, 1500, COUNT - 1])
@pytest.mark.parametrize("cell", ["", "NaN", "NA", "null", "-", "inf"])
def test_one_missing_value(index: int, cell: str, tmp_path: Path) -> None:
    found = recording(tmp_path, at(index, lambda row: [",".join([row.split(",")[0], cell, "0.1", "1.0"])]))
    assert notes(found) == {"missing values": 1}
    assert found.notes[0].detail == f"the first in line {index + 2:,}"
    np.testing.assert_array_equal(found.times, np.delete(recording(tmp_path, text(rows())).times, index))


@pytest.mark.parametrize("index", [0, 1500, COUNT - 1])
@pytest.mark.parametrize("line", ["End of file", "End, of, file, here", ",,,", "1,2"])
def test_a_foreign_line(index: int, line: str, tmp_path: Path) -> None:
    found = recording(tmp_path, at(index, lambda row: [row, line]))
    assert notes(found) == {"foreign lines": 1}
    assert found.notes[0].detail.startswith(f"the first in line {index + 3:,}")
    assert len(found.times) == COUNT


@pytest.mark.parametrize("header", ["time,x,z,y", "Z, Y, X, time", '"time","x","y","temperature"'])
def test_a_second_header_row_with_other_columns_is_refused(header: str, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"line 1,502 is a header row with other columns than the first one"):
        recording(tmp_path, at(1500, lambda row: [header, row]))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
@pytest.mark.parametrize(
    ("header", "again"),
    [
        *[("time,x,y,z", "TIME,x,y,z"), ("time,x,y,z", "\ufefftime,x,y,z"), ("# time,x,y,z", "# time,x,y,z")],
        *[("time,x,y,z", '"time", "x", "y", "z"'), ("time (\u00b5s),x,y,z", "time (\u00b5s),x,y,z")],
    ],
)
def test_the_same_header_row_again_is_left_out(header: str, again: str, encoding: str, tmp_path: Path) -> None:
    table = rows(stamp=lambda i: f"{i * 10_000}") if "(" in header else rows()
    content = text([*table[:1500], again, *table[1500:]], header)
    found = recording(tmp_path, content.encode("utf-8" if "\ufeff" in content else encoding))
    assert notes(found) == {"foreign lines": 1}
    assert (found.nominal_rate, len(found.times)) == (RATE, COUNT)


def test_a_foreign_line_in_another_script_is_no_header_row(tmp_path: Path) -> None:
    for header in ("\u6642\u9593,x,y,z", "\u6642\u9593,\u6a2a,\u7e26,\u9ad8"):
        columns = tuple(header.split(","))
        line = "\u8b66\u544a,\u96fb,\u6c60,\u6c34"
        found = recording(tmp_path, text([*rows()[:7], line, *rows()[7:]], header), columns=columns)
        assert notes(found) == {"foreign lines": 1}


@pytest.mark.parametrize("values", ["1,0.5,0.5", "0.0000,0.0000,1.0000"])
@pytest.mark.parametrize("index", [1, 1500, COUNT - 1])
def test_a_time_twice(index: int, values: str, tmp_path: Path) -> None:
    found = recording(tmp_path, at(index, lambda row: [row, f"{row.split(',')[0]},{values}"]))
    assert notes(found) == {"duplicate samples": 1}
    assert found.notes[0].detail == f"the first in line {index + 3:,}"
    np.testing.assert_array_equal(found.acceleration, signal().astype(np.float32))


@pytest.mark.parametrize("extra", [True, False])
def test_many_times_twice(extra: bool, tmp_path: Path) -> None:
    table = rows()
    twice = np.sort(np.random.default_rng(0).choice(np.arange(5, COUNT - 5, 2), 28, replace=False))[::-1]
    for index in twice.tolist():
        before = table[index - 1].split(",")[0]
        table[index : index + (not extra)] = [f"{before},0.1,0.1,0.9"]
    found = recording(tmp_path, text(table))
    assert (notes(found), found.nominal_rate) == ({"duplicate samples": 28}, RATE)
    assert len(found.times) == COUNT - (0 if extra else 28)


def test_every_row_twice(tmp_path: Path) -> None:
    found = recording(tmp_path, text([row for row in rows() for _ in range(2)]))
    assert notes(found) == {"repeated blocks": COUNT}
    np.testing.assert_array_equal(found.acceleration, signal().astype(np.float32))


@pytest.mark.parametrize("days", [-40, 0.001, 100])
@pytest.mark.parametrize("index", [0, 1, 1500, COUNT - 2, COUNT - 1])
def test_one_row_stamped_elsewhere(index: int, days: float, tmp_path: Path) -> None:
    def stamp(i: int) -> str:
        return f"{START + i / RATE + (86400 * days if i == index else 0):.3f}"

    found = recording(tmp_path, text(rows(stamp=stamp)))
    if index == COUNT - 1 and days == 0.001:
        return  # 86 s later at the end: indistinguishable from a pause
    assert notes(found) == {"isolated stamps": 1}
    np.testing.assert_array_equal(found.acceleration, np.delete(signal(), index, axis=0).astype(np.float32))


def test_more_than_a_hundredth_is_refused_with_the_place(tmp_path: Path) -> None:
    table = rows()
    table[100:200] = ["oops,0,0,0"] * 50
    with pytest.raises(HarnetError, match=r"foreign lines: 50 of .*line 102.*leave such lines out"):
        recording(tmp_path, text(table))


@pytest.mark.parametrize("value", [9999, -9999, 32767, 1e30, 50])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_absurd_value(value: float, axis: int, tmp_path: Path) -> None:
    values = signal()
    values[1500, axis] = value
    found = recording(tmp_path, text(rows(values=values.tolist())))
    assert notes(found) == {"absurd values": 1}
    assert np.abs(found.acceleration).max() < 3


@pytest.mark.parametrize("piece", [1 << 12, 1 << 23])
@pytest.mark.parametrize("value", [(0, 0, 0), (-1, -1, -1), (9999, 9999, 9999), (0, 0, 0.25)])
@pytest.mark.parametrize("begin", [0, 260, 290, 990, 1500, COUNT - 750])
def test_a_filler_becomes_a_gap(
    begin: int, value: tuple[float, float, float], piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    values = signal()
    values[begin : begin + 750] = value
    found = recording(tmp_path, text(rows(values=values.tolist())))
    assert notes(found) == {"repeated fillers": 750}
    kept = np.delete(values, slice(begin, begin + 750), axis=0)
    np.testing.assert_array_equal(found.acceleration, kept.astype(np.float32))


@pytest.mark.parametrize("cell", ["", "NaN"])
@pytest.mark.parametrize("begin", [0, 260, 290, 990, 1500, COUNT - 750])
@pytest.mark.parametrize("piece", [2000, 3000, 1 << 23])
def test_cells_left_empty_for_long_are_a_filler(
    piece: int, begin: int, cell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    monkeypatch.setattr(timeline, "LEAST_SETTLED", min(piece // 10, 1 << 16))
    table = rows()
    table[begin : begin + 750] = [f"{row.split(',')[0]},{cell},{cell},{cell}" for row in table[begin : begin + 750]]
    found = recording(tmp_path, text(table))
    assert notes(found) == {"repeated fillers": 750}
    np.testing.assert_array_equal(
        found.acceleration, np.delete(signal(), slice(begin, begin + 750), axis=0).astype("f4")
    )


@pytest.mark.parametrize("piece", [1 << 12, 1 << 23])
@pytest.mark.parametrize(("value", "count"), [("last", 100), ("last", 2000), ("zeros", 3), ("zeros", 30)])
def test_a_fine_sensor_repeats_nothing_for_long(
    value: str, count: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    values = signal()
    values[900 : 900 + count] = values[900] if value == "last" else 0
    found = recording(tmp_path, text(rows(values=values.tolist())))
    assert notes(found) == {"repeated fillers": count}
    kept = np.delete(values, slice(900, 900 + count), axis=0)
    np.testing.assert_array_equal(found.acceleration, kept.astype(np.float32))


def test_a_coarse_sensor_may_repeat_for_long(tmp_path: Path) -> None:
    values = np.round(signal() * 64) / 64
    values[900:1500] = values[900]
    assert notes(recording(tmp_path, text(rows(values=values.tolist())))) == {}


def test_a_still_device_with_a_coarse_sensor_is_no_filler(tmp_path: Path) -> None:
    values = np.tile([0.0, 0.25, 0.9688], (COUNT, 1))
    assert notes(recording(tmp_path, text(rows(values=values.tolist())))) == {}


def test_a_long_file_that_is_no_table_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tables_text, "MANY", 1000)
    monkeypatch.setattr(lines, "PIECE_BYTES", 1 << 14)
    words = [f"{'ab' * (i % 20)}{i}x,1,2,3" for i in range(20_000)]
    with pytest.raises(HarnetError, match="foreign lines: 904 of 1,504, the first in line 602"):
        recording(tmp_path, text([*rows()[:600], *words]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mixture_of_forms_and_a_few_odd_rows(data: st.DataObject, tmp_path: Path) -> None:
    separator = data.draw(st.sampled_from([",", ";", "\t", "  "]))
    stamp, clock = STAMPS[
        data.draw(
            st.sampled_from(
                [name for name in STAMPS if name not in ("comma", "exponent", "English") and "since" not in name]
            )
        )
    ]
    table = rows(separator, stamp)
    expected: dict[str, int] = {}
    lost: list[int] = []
    for place in data.draw(st.lists(st.integers(1, 28), max_size=4, unique=True)):
        index = place * 100 + data.draw(st.integers(0, 99))
        time = table[index].split(separator)[0]
        kind = data.draw(st.sampled_from(["missing values", "foreign lines", "blank lines", "absurd values"]))
        if kind in ("missing values", "absurd values"):
            cell = "NaN" if kind == "missing values" else "1e6"
            table[index] = separator.join([time, "0.1", cell, "1.0"])
            lost.append(index)
        else:
            table[index] += "\nRecording paused by user" if kind == "foreign lines" else "\n"
        expected[kind] = expected.get(kind, 0) + 1
    header = data.draw(st.sampled_from(["time x y z", "Time X Y Z", "TIME x Y z"])).replace(" ", separator)
    content = text(table, header)
    if separator != "," and data.draw(st.booleans()):
        content = content.replace(".", ",")
    content = content.replace("\n", data.draw(st.sampled_from(["\n", "\r\n"])))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "PIECE_BYTES", data.draw(st.sampled_from([1 << 12, 1 << 15, 1 << 23])))
        found = recording(tmp_path, data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + content.encode())
    assert (found.clock, found.nominal_rate, notes(found)) == (clock, RATE, expected)
    kept = np.delete(np.arange(COUNT), lost)
    np.testing.assert_array_equal(found.acceleration, signal()[kept].astype(np.float32))
    np.testing.assert_allclose(found.times, START + kept / RATE, atol=1e-6)


def test_a_table_that_was_read_leaves_memory() -> None:
    """A worker reads thousands of files; Arrow's options keep references that the garbage collector cannot see."""
    cells = Cells(Dialect(",", (), fields=4, skip=0), range(4), Tally("x"))
    assert cells.columns(LineChunk(b"0,0,0,1\n1,0,0\n2,0,0,1\n", 1, last=True))[0].tolist() == [1, 3]
    gone = weakref.ref(cells)
    del cells
    gc.collect()
    assert gone() is None
