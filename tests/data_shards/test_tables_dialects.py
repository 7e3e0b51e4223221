"""Dialects of text tables: header rows, separators, encodings, line ends, rows without a header, cut ends."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_shards.readers.tables import lines
from harnet.errors import HarnetError
from tests.data_shards.table_files import COUNT, START, assert_plain, local, notes, recording, rows, signal, text, unix


@pytest.mark.parametrize(
    "header",
    [
        *("time,x,y,z", "time, x, y, z", "Time,X,Y,Z", ' "TIME" ,X ,y, Z', "time,x,y,z,", "time,x,y,z,note"),
        *("# time,x,y,z", "Time (s),Acc X (g),Acc Y (g),Acc Z (g)", "unix_timestamp,accel_x,accel_y,accel_z,gx"),
        *("HEADER_TIMESTAMP,X,Y,Z", "Timestamp,Accelerometer X,Accelerometer Y,Accelerometer Z", "epoch,ax,ay,az,temp"),
    ],
)
def test_header_rows(header: str, tmp_path: Path) -> None:
    more = "," * (header.count(",") - 3)
    assert_plain(recording(tmp_path, text([row + more for row in rows()], header)))


def test_named_columns_are_never_taken_by_position(tmp_path: Path) -> None:
    gyroscope = [f"{row.split(',', 1)[0]},9,9,9,{row.split(',', 1)[1]}" for row in rows()]
    assert_plain(recording(tmp_path, text(gyroscope, "timestamp,gyro_x,gyro_y,gyro_z,acc_x,acc_y,acc_z")))
    backwards = [",".join([row.split(",")[0], *row.split(",")[:0:-1]]) for row in rows()]
    assert_plain(recording(tmp_path, text(backwards, "timestamp,acc_z,acc_y,acc_x")))
    for header in ("timestamp,gyro_x,gyro_y,gyro_z", "stamp,alpha,beta,gamma", "s,lin_acc_x,lin_acc_y,lin_acc_z"):
        with pytest.raises(HarnetError, match=rf"its first line is '{header}': name four of these with --columns"):
            recording(tmp_path, text(rows(), header))


@pytest.mark.parametrize("columns", [("time", "x", "x", "z"), ("1", "2", "2", "4")])
def test_a_column_named_twice(columns: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="are not four different ones"):
        recording(tmp_path, text(rows()), columns=columns)
    with pytest.raises(HarnetError, match="more than one column 'x'"):
        recording(tmp_path, text([row + ",0" for row in rows()], "time,x,y,z,x"))


@pytest.mark.parametrize("stamp", [unix, lambda i: f"{START + i // 100}", local])
def test_decimal_commas_between_commas_are_refused(stamp: Callable[[int], str], tmp_path: Path) -> None:
    table = [row.replace(".", ",").replace(";", ",") for row in rows(";", stamp)]
    with pytest.raises(HarnetError, match=r"header row names 4 columns, but rows have \d cells: .*another separator"):
        recording(tmp_path, text(table))
    with pytest.raises(HarnetError, match="not a known device file; commas are both separators and decimal signs: exp"):
        recording(tmp_path, text(table, None))


def test_row_names_of_r(tmp_path: Path) -> None:
    assert_plain(recording(tmp_path, text([f'"{number}",{row}' for number, row in enumerate(rows(), 1)])))
    with pytest.raises(HarnetError, match="names 4 columns, but rows have 5 cells"):
        recording(tmp_path, text([f"{row},21.5" for row in rows()]))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", " ", " ; ", " | ", ",  ", "   "])
def test_separators(separator: str, tmp_path: Path) -> None:
    assert_plain(recording(tmp_path, text(rows(separator), separator.join(("time", "x", "y", "z")))))


@pytest.mark.parametrize("more", ["", " 21.5"])
@pytest.mark.parametrize("names", ["date time x y z", "n Date Time x y z", "date time zone x y z"])
def test_stamps_with_spaces_between_spaces(names: str, more: str, tmp_path: Path) -> None:
    zone = "zone" in names
    table = [row + more for row in rows(" ", lambda i: local(i) + " UTC" * zone)]
    table = [f"{number} {row}" if names.startswith("n") else row for number, row in enumerate(table)]
    names += " temperature" * bool(more)
    stamp = "date time zone" if zone else "time"
    assert_plain(recording(tmp_path, text(table, names), columns=(stamp, "x", "y", "z")), "utc" if zone else "local")


@pytest.mark.parametrize("index", [0, 1, COUNT - 1])
def test_a_row_without_a_cell_between_spaces(index: int, tmp_path: Path) -> None:
    table = rows(" ", local)
    table[index] = table[index].rsplit(" ", 1)[0]
    found = recording(tmp_path, text(table, "time x y z"))
    assert notes(found) == {"foreign lines": 1}
    assert len(found.times) == COUNT - 1


def test_names_without_cells_between_spaces(tmp_path: Path) -> None:
    for header in ("time label x y z", "time x y z label"):
        with pytest.raises(HarnetError, match=r"names 5 columns, but rows have 4 cells: .*white space within cells"):
            recording(tmp_path, text(rows(" "), header))


@pytest.mark.parametrize("separator", [";", "\t", "|", " "])
def test_decimal_commas(separator: str, tmp_path: Path) -> None:
    table = text(rows(separator), separator.join(("time", "x", "y", "z"))).replace(".", ",")
    assert_plain(recording(tmp_path, table))
    quoted = [",".join(f'"{cell}"' for cell in row.replace(".", ",").split(separator)) for row in rows(separator)]
    assert_plain(recording(tmp_path, text(quoted)))


@pytest.mark.parametrize("piece", [4096, 1 << 23])
@pytest.mark.parametrize("ends", [["\n"], ["\r\n"], ["\r"], ["\r", "\n"], ["\n", "\r\n", "\r"]])
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_and_line_ends(
    encoding: str, ends: list[str], piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    table = ["time,x,y,z", *rows()]
    content = "".join(row + ends[len(ends) * index // len(table)] for index, row in enumerate(table))
    assert_plain(recording(tmp_path, content.encode(encoding)))


@pytest.mark.parametrize(
    ("before", "kind", "count"),
    [
        ("\n\n", "blank lines", 2),
        ("sep=,\n# made by a, watch\n", "preamble lines", 2),
        ("# x\n" * 70, "preamble lines", 70),
    ],
)
@pytest.mark.parametrize("header", ["time,x,y,z", None])
def test_lines_before_the_table(before: str, kind: str, count: int, header: str | None, tmp_path: Path) -> None:
    found = recording(tmp_path, before + text(rows(), header))
    assert notes(found) == {kind: count}
    assert len(found.times) == COUNT


@pytest.mark.parametrize("before", ["", "Watch 7\nmade by a, watch, in, 2024\n\n"])
def test_a_row_of_units_below_the_header_row(before: str, tmp_path: Path) -> None:
    found = recording(tmp_path, before + text(["s,g,g,g", *rows()]))
    assert notes(found) | {"foreign lines": 1} == notes(found)
    np.testing.assert_array_equal(found.acceleration, signal().astype(np.float32))


@pytest.mark.parametrize("kind", ["blank lines", "foreign lines"])
def test_blank_lines_and_zero_bytes(kind: str, tmp_path: Path) -> None:
    table = rows()
    table[1500:1500] = ["", "  ", "\t"] if kind == "blank lines" else ["\0" * 100_000]
    found = recording(tmp_path, text(table))
    assert notes(found) == {kind: 3 if kind == "blank lines" else 1}
    np.testing.assert_array_equal(found.acceleration, signal().astype(np.float32))


@pytest.mark.parametrize("line", ['"End', '"1,2,3,4', None])
def test_a_quote_that_is_never_closed(line: str | None, tmp_path: Path) -> None:
    table = [f'{row},"note"' for row in rows()]
    if line is None:
        table[1500] = table[1500][:-1]
    else:
        table[1500:1500] = [line]
    found = recording(tmp_path, text(table, "time,x,y,z,note"))
    assert notes(found) == ({} if line is None else {"foreign lines": 1})
    np.testing.assert_array_equal(found.acceleration, signal().astype(np.float32))


@pytest.mark.parametrize("every", [1, 500])
def test_quoted_separators_far_below_the_header_row(every: int, tmp_path: Path) -> None:
    table = [f'{row},"sitting, reading"' if i >= 1000 and not i % every else f"{row}," for i, row in enumerate(rows())]
    assert_plain(recording(tmp_path, text(table, "time,x,y,z,note")))


def test_rows_that_are_no_numbers(tmp_path: Path) -> None:
    table = [",".join([row.split(",")[0], *(f"{cell}g" for cell in row.split(",")[1:])]) for row in rows()]
    with pytest.raises(HarnetError, match=r"below its header row 'time,x,y,z', rows are not numbers: export them as"):
        recording(tmp_path, text(table))


def test_prose_about_a_table_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="not a known device file"):
        recording(tmp_path, "# Watches\n\nTables have the columns time, x, y, z\nas all have, had, and will have.\n")
    listed = "# Files\n\nText.\n\n| codes | time, `x y z` | 16 people |\n| a.cwa | 100 Hz, 174 s, 2.9 min | a test |\n"
    with pytest.raises(HarnetError, match="not a known device file"):
        recording(tmp_path, listed)


@pytest.mark.parametrize("columns", [4, 7])
@pytest.mark.parametrize("separator", [",", ";"])
def test_no_header_row(columns: int, separator: str, tmp_path: Path) -> None:
    more = (separator + "1.5") * (columns - 4)
    table = text([row + more for row in rows(separator, local)], None)
    assert_plain(recording(tmp_path, table), "local")
    assert_plain(recording(tmp_path, table, columns=("1", "2", "3", "4")), "local")


@pytest.mark.parametrize("numbers", [True, False])
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("row", "kind", "lost"),
    [
        *[("{},,0.1,1", "missing values", 1), ("{},NaN,NaN,NaN", "missing values", 1)],
        *[("hello", "foreign lines", 0), ("{},0.1", "foreign lines", 1), ("{},0.1,x,1", "foreign lines", 1)],
    ],
)
def test_an_odd_row_at_the_top_without_a_header_row(
    row: str, kind: str, lost: int, index: int, numbers: bool, tmp_path: Path
) -> None:
    table = rows()
    table[index : index + lost] = [row.format(unix(index))]
    options = {"columns": ("1", "2", "3", "4")} if numbers else {}
    found = recording(tmp_path, text(table, None), **options)
    assert notes(found) == {kind if index or kind == "missing values" else "preamble lines": 1}
    assert len(found.times) == COUNT - lost


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize(("stamp", "more"), [(local, 1), (unix, 4), (lambda index: f"{index / 100}", 0)])
def test_no_header_row_and_other_columns(
    stamp: Callable[[int], str], more: int, separator: str, tmp_path: Path
) -> None:
    table = text([row + (separator + "1.5") * more for row in rows(separator, stamp)], None)
    hint = f"; it has no header row and {4 + more} columns: pass the numbers of .* such as --columns 1 2 3 4;"
    with pytest.raises(HarnetError, match=hint):
        recording(tmp_path, table)
    found = recording(tmp_path, table, columns=("1", "2", "3", "4"))
    np.testing.assert_array_equal(found.acceleration, signal().astype(np.float32))


def test_columns_by_number(tmp_path: Path) -> None:
    table = [f"7;{row.split(';', 1)[1]};{row.split(';', 1)[0]}" for row in rows(";")]
    options = {"columns": ("5", "2", "3", "4")}
    assert_plain(recording(tmp_path, text(table, None), **options))
    assert_plain(recording(tmp_path, text(table, "a;b;c;d;e"), **options))
    with pytest.raises(HarnetError, match=r"names 5 columns, too few for --columns 6 2 3 4"):
        recording(tmp_path, text(table, "a;b;c;d;e"), columns=("6", "2", "3", "4"))


@pytest.mark.parametrize("piece", [1 << 23, 300])
@pytest.mark.parametrize("form", ["{:.4f}", "{!r}", "{:.6e}", "mg", "x,y,z,time", '"{:.4f}"'])
def test_the_last_line_is_cut(form: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    values = np.rint(1000 * signal(40)) if form == "mg" else signal(40)
    written = "{:.0f}" if form == "mg" else "{:.4f}" if form == "x,y,z,time" else form
    cells = [[unix(index), *map(written.format, row)] for index, row in enumerate(values.tolist())]
    header = "x,y,z,time" if form == "x,y,z,time" else "time,x,y,z"
    whole = text([",".join(row[1:] + row[:1] if form == "x,y,z,time" else row) for row in cells], header)
    for cut in range(1, len(whole.splitlines()[-1]), 1 if piece > 300 else 5):
        found = recording(tmp_path, whole[:-cut], units="mg" if form == "mg" else "g")
        lost = len(found.times) < len(values)
        assert lost or cut <= len(form) - len(form.rstrip('"')) + 1, cut
        assert notes(found) == ({"cut end": 1} if lost else {}), cut
        np.testing.assert_allclose(
            found.acceleration, values[: len(found.times)] / (1000 if form == "mg" else 1), atol=1e-6
        )


@pytest.mark.parametrize("more", ["", ",0.1", ",a note"])
def test_no_line_feed_at_the_end_is_no_cut(more: str, tmp_path: Path) -> None:
    table = [row + more for row in rows()]
    assert_plain(recording(tmp_path, text(table, "time,x,y,z,note" if more else "time,x,y,z")[:-1]))


def test_characters_of_another_encoding(tmp_path: Path) -> None:
    table = [f"{row},\u00e4" for row in rows()]
    table[1500:1500] = ["Ger\u00e4t \u20ac wei\u00df nichts".replace("\u20ac", "")]
    found = recording(tmp_path, text(table, "time,x,y,z,Gr\u00f6\u00dfe").encode("latin-1"))
    assert notes(found) == {"foreign lines": 1}
    assert len(found.times) == COUNT


@pytest.mark.parametrize("piece", [333, 1 << 23])
@pytest.mark.parametrize("separator", [",", ";", " "])
def test_minus_signs(separator: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    table = [row.replace("-", "\N{MINUS SIGN}") for row in rows(separator)]
    assert_plain(recording(tmp_path, text(table, separator.join(("time", "x", "y", "z")))))
    assert_plain(recording(tmp_path, text(table, None)))


def test_a_table_of_hundreds_of_columns(tmp_path: Path) -> None:
    table = [row + ",0" * 500 for row in rows()]
    header = "time,x,y,z," + ",".join(f"feature_{number:04d}" for number in range(500))
    assert_plain(recording(tmp_path, text(table, header)))
