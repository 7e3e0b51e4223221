"""Tables with rows of several people or devices are refused: they are not one recording."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_shards.readers import ReadOptions, load, parquet
from data_shards.readers.tables import lines
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.table_files import COUNT, START, assert_plain, notes, recording, rows, signal, text

HALVES = "AB"
WHO: dict[str, Callable[[int], str]] = {
    "one after the other": lambda i: HALVES[i >= COUNT // 2],
    "in turn": lambda i: HALVES[i % 2],
    "numbers": lambda i: str(33 + (i > 100)),
    "two rows at the end": lambda i: HALVES[i >= COUNT - 2],
}


def table(who: Callable[[int], str], name: str = "subject", place: int = 4) -> str:
    cells = [row.split(",") for row in rows()]
    for number, row in enumerate(cells):
        row.insert(place, who(number))
    header = ["time", "x", "y", "z"]
    header.insert(place, name)
    return text([",".join(row) for row in cells], ",".join(header))


def columnar(folder: Path, who: Callable[[int], object], name: str = "subject") -> Loaded:
    x, y, z = signal().T
    times = [START + number / 100 for number in range(COUNT)]
    columns = {"time": times, "x": x, "y": y, "z": z, name: pa.array([who(number) for number in range(COUNT)])}
    pq.write_table(pa.table(columns), folder / "p.parquet")
    (found,) = load(folder / "p.parquet", ReadOptions())
    return found.recording


@pytest.mark.parametrize("piece", [3000, 1 << 23])
@pytest.mark.parametrize(("name", "place"), [("subject", 4), ("User ID", 0), ("device_id", 1), ("wrist", 4), ("id", 0)])
@pytest.mark.parametrize("who", WHO)
def test_rows_of_two_are_refused(
    who: str, name: str, place: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    with pytest.raises(HarnetError, match=rf"p\.csv: the column '{name}' has another value in line [\d,]+: rows of"):
        recording(tmp_path, table(WHO[who], name, place))


@pytest.mark.parametrize("piece", [1000, 1 << 18])
@pytest.mark.parametrize("who", WHO)
def test_rows_of_two_in_parquet(who: str, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PIECE_ROWS", piece)
    with pytest.raises(HarnetError, match=r"p\.parquet: the column 'subject' has another value in row [\d,]+: rows of"):
        columnar(tmp_path, WHO[who])
    with pytest.raises(HarnetError, match="the column 'subject' has another value"):
        columnar(tmp_path, lambda number: ord(WHO[who](number)[-1]))
    with pytest.raises(HarnetError, match="the column 'subject' has another value"):
        columnar(tmp_path, lambda number: float(ord(WHO[who](number)[-1])))


@pytest.mark.parametrize(
    "cells",
    [
        pa.array(["A", "B"], pa.string_view()),
        pa.array([b"A", b"B"]),
        pa.array([b"\xff\xfe", b"\xfe\xff"]),
        pa.array([b"\xff\xfe", b"\xfe\xff"], pa.binary(2)),
        pa.array([True, False]),
        pa.array([Decimal(1), Decimal(2)]),
        pa.array(["A", "B"]).dictionary_encode(),
    ],
    ids=lambda cells: str(cells.type),
)
def test_names_of_people_in_any_type(cells: pa.Array, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    x, y, z = signal().T
    columns = {"time": [START + number / 100 for number in range(COUNT)], "x": x, "y": y, "z": z}
    one, other = cells.to_pylist()
    pq.write_table(pa.table(columns | {"subject": pa.array([one] * COUNT, cells.type)}), path)
    (found,) = load(path)
    assert_plain(found.recording)
    pq.write_table(pa.table(columns | {"subject": pa.array([one] * (COUNT - 9) + [other] * 9, cells.type)}), path)
    with pytest.raises(HarnetError, match="the column 'subject' has another value in row 2,992: rows of"):
        list(load(path))


def test_what_is_no_second_device(tmp_path: Path) -> None:
    assert_plain(recording(tmp_path, table(str, "id", 0)))
    assert_plain(recording(tmp_path, table(lambda i: HALVES[i > 7], "label")))
    assert_plain(recording(tmp_path, table(lambda i: ["A", " A", '"A"', ""][i % 4])))
    assert_plain(columnar(tmp_path, lambda number: number, "id"))
    assert_plain(columnar(tmp_path, lambda number: "A" if number % 2 else None))
    assert_plain(columnar(tmp_path, lambda number: 1.0 if number % 2 else float("nan")))
    one = table(lambda i: HALVES[i == 7])
    assert_plain(recording(tmp_path, one))  # one damaged cell
    found = recording(tmp_path, one.replace("\n", "\nend of file\n", 1).replace("A\n", "A\ntime,x,y,z,subject\n", 1))
    assert notes(found) == {"foreign lines": 2}
    assert notes(recording(tmp_path, table(lambda i: "Ann")[:-2])) == {"cut end": 1}
