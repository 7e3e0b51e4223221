"""Tables with named columns, as text and as Parquet."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data_shards.readers import Found, ReadOptions, load
from harnet.errors import HarnetError

pd = pytest.importorskip("pandas", reason="needs pandas: pip install 'harnet[apply]'")

START = 1_700_000_000


def found(path: Path, content: str, options: ReadOptions | None = None) -> Found:
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    (only,) = load(path, options)
    return only


def table(rows: list[str], header: str = "time,x,y,z") -> str:
    return "\n".join([header, *rows]) + "\n"


@pytest.mark.parametrize(
    ("first", "second", "clock", "seconds"),
    [
        (f"{START}.5", f"{START}.75", "utc", START + 0.5),
        ("0.0", "0.25", "none", 0.0),
        ("2023-11-14T22:13:20.5", "2023-11-14T22:13:20.75", "local", START + 0.5),
        ("2023-11-14 22:13:20.500", "2023-11-14 22:13:20.750", "local", START + 0.5),
        ("2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.75Z", "utc", START + 0.5),
        ("2023-11-15T00:13:20.5+02:00", "2023-11-15T00:13:20.75+02:00", "utc", START + 0.5),
        ("2023-11-15T00:13:20.5+0200", "2023-11-14T23:13:20.75+0100", "utc", START + 0.5),
    ],
)
def test_table_times(tmp_path: Path, first: str, second: str, clock: str, seconds: float) -> None:
    recording = found(tmp_path / "p.csv", table([f"{first},0,0,1", f"{second},0,0,1"])).recording
    assert recording.clock == clock
    np.testing.assert_array_equal(recording.times, [seconds, seconds + 0.25])


@pytest.mark.parametrize(("units", "per_g"), [("g", 1.0), ("m/s2", 9.80665), ("mg", 1000.0)])
def test_table_units_and_columns(tmp_path: Path, units: str, per_g: float) -> None:
    options = ReadOptions(columns=("t", "ax", "ay", "az"), units=units)  # type: ignore[arg-type]
    rows = [f"9,{per_g * 2},{START + n / 50},{-per_g},{per_g / 4}" for n in range(100)]
    recording = found(tmp_path / "p.csv", table(rows, "other,az,t,ax,ay"), options).recording
    np.testing.assert_allclose(recording.acceleration[0], [-1, 0.25, 2], rtol=1e-6)
    assert recording.nominal_rate == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (table(["0,0,0"], "time,x,z"), r"p\.csv: not a known device file"),
        (table(["0,0,0,1"], "time,x,y,w"), r"p\.csv: no column 'z'; it has time, x, y, w: name yours with --columns"),
        (table(["0,0,0,1"], "a,b,c,d"), r"its first line is 'a,b,c,d': name four of these with --columns"),
        (table(["0,0,0,1", "0.1,oops,0,1"]), r"foreign lines: 1 \(the first in line 3, column 'x'\)"),
        (table(["0,0,0,1", "0.1,0,,1"]), r"1 of 2 data rows are valid: .*missing values: 1 \(the first in line 3\)"),
        (table(["0,0,0,1", "0.1,0,0,inf", "0.2,0,0,inf"]), r"missing values: 2 of 3, the first in line 3; up to 1 %"),
        (table(["0,0,0,1", "0.2,0,0,1", "0.1,0,0,1", "0.1,0,0,1"]), r"backward times: 2 of 4, the first in line 4"),
        (table(["0,0,0,1", "0.1,0,0,1", "0.1,1,0,1", "0.1,0,0,1"]), r"duplicate samples: 2 of 4, the first in line 4"),
        (table(["170000000000,0,0,1", "170000000010,0,0,1"]), r"170000000000 is not a UNIX time in s, ms, µs or ns"),
        (
            table(["14-11-23 22:13:20.00,0,0,1", "14-11-23 22:13:20.02,0,0,1"]),
            r"which number is the year\? Give --day-f",
        ),
        (table(["yesterday,0,0,1", "today,0,0,1"]), r"time 'yesterday' is neither UNIX seconds nor ISO"),
        (
            table(["2023-01-01T00:00:00,0,0,1", "2023-01-01T00:00:01Z,0,0,1"]),
            r"foreign lines: 1 .*column 'time'",
        ),
        (table(["0,0,0,1"]), r"1 of 1 data rows"),
        ("", r"p\.csv: empty file"),
        ("\x00\x01binary", r"not a known device file"),
    ],
)
def test_table_refusals_are_one_line_that_says_where(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(HarnetError, match=message) as caught:
        found(tmp_path / "p.csv", content)
    assert "\n" not in str(caught.value)


def test_a_byte_order_mark_and_quotes_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(b'\xef\xbb\xbf"time","x","y","z"\r\n0,0,0,1\r\n0.02,0,0,1\r\n')
    (one,) = load(path)
    assert one.recording.nominal_rate == 50


def parquet(path: Path, **columns: object) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


STAMPS = pd.to_datetime(["2023-11-14T22:13:20.5", "2023-11-14T22:13:20.75"])


@pytest.mark.parametrize(
    ("times", "clock", "seconds"),
    [
        ([START + 0.5, START + 0.75], "utc", START + 0.5),
        ([0.0, 0.25], "none", 0.0),
        (STAMPS, "local", START + 0.5),
        (STAMPS.as_unit("ms"), "local", START + 0.5),
        (STAMPS.tz_localize("UTC"), "utc", START + 0.5),
        (STAMPS.tz_localize("Europe/Dublin"), "utc", START + 0.5),
        (["2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.75Z"], "utc", START + 0.5),
        (pa.array(["2023-11-14 22:13:20.5", "2023-11-14 22:13:20.75"], pa.string_view()), "local", START + 0.5),
        (pa.array([b"2023-11-14 22:13:20.5", b"2023-11-14 22:13:20.75"]), "local", START + 0.5),
        (STAMPS.as_unit("ms").astype("int64"), "utc", START + 0.5),
        (STAMPS.as_unit("us").astype("int64"), "utc", START + 0.5),
        (pd.to_timedelta([0.5, 0.75], "s"), "none", 0.5),
    ],
)
def test_parquet_times(tmp_path: Path, times: list[float], clock: str, seconds: float) -> None:
    path = parquet(tmp_path / "p.parquet", time=times, x=[0, 0], y=[0.0, 0.0], z=[1, 1])
    (one,) = load(path)
    assert (one.label, one.recording.clock) == ("p", clock)
    np.testing.assert_array_equal(one.recording.times, [seconds, seconds + 0.25])


def test_parquet_checksums_of_pages_are_verified(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    values = np.random.default_rng(1).normal(0, 1, 100)
    columns = {"time": np.arange(100) / 50, "x": values, "y": values, "z": values}
    pq.write_table(pa.table(columns), path, compression="none", use_dictionary=False, write_page_checksum=True)
    assert len(next(load(path)).recording.times) == 100
    content = path.read_bytes()
    changed = bytearray(values[50].tobytes())
    changed[6] ^= 1
    path.write_bytes(content.replace(values[50].tobytes(), bytes(changed), 1))
    with pytest.raises(HarnetError, match=r"not a readable Parquet file \(.*checksum"):
        list(load(path))


@pytest.mark.parametrize("group", [1, 7, 100])
def test_parquet_clock_does_not_depend_on_the_first_row_group(group: int, tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    texts = pa.array([f"{index}" for index in range(300)]).dictionary_encode()  # a batch then ends with each row group
    times = [None, *(START + index / 50 for index in range(1, 300))]
    pq.write_table(pa.table({"time": times, "x": texts, "y": texts, "z": texts}), path, row_group_size=group)
    (one,) = load(path)
    assert (one.recording.clock, one.recording.times[0]) == ("utc", START + 0.02)
    dates = [f"{day:02}/05/2024 12:00:{index // 10:02}.{index % 10}" for index, day in enumerate([10] * 299 + [13])]
    pq.write_table(pa.table({"time": dates, "x": texts, "y": texts, "z": texts}), path, row_group_size=group)
    (one,) = load(path)
    assert one.recording.times[0] == np.datetime64("2024-05-10T12:00:00", "s").astype(int)


def test_parquet_units_and_columns(tmp_path: Path) -> None:
    options = ReadOptions(columns=("t", "ax", "ay", "az"), units="mg")
    path = parquet(tmp_path / "any name", az=[250, 250], other=["a", "b"], ay=[-1000, 0], ax=[2000, 0], t=[1.0, 1.02])
    (one,) = load(path, options)
    np.testing.assert_allclose(one.recording.acceleration[0], [2, -1, 0.25], rtol=1e-6)
    assert one.recording.nominal_rate == 50


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"time": [0, 1], "x": [0, 0], "y": [0, 0]}, "no column 'z'; it has time, x, y: name yours with --columns"),
        (
            {"time": [0, 1], "x": [0, None], "y": [0, 0], "z": [1, 1]},
            r"1 of 2 .*missing values: 1 \(.*row 2\)",
        ),
        ({"time": [1, 0], "x": [0, 0], "y": [0, 0], "z": [1, 1]}, r"1 of 2 .*backward times: 1 \(.*row 2\)"),
        (
            {"time": [0, 1], "x": ["0", "?"], "y": [0, 0], "z": [1, 1]},
            r"1 of 2 .*missing values: 1 \(.*row 2\)",
        ),
        (
            {"time": [0, 1], "x": [0, 1e300], "y": [0, 0], "z": [1, 1]},
            r"1 of 2 .*missing values: 1 \(.*row 2\)",
        ),
        ({"time": [0], "x": [0], "y": [0], "z": [1]}, "1 of 1 data rows"),
        ({name: pa.array([], pa.float64()) for name in ("time", "x", "y", "z")}, "0 of 0 data rows"),
    ],
)
def test_parquet_refusals_are_those_of_a_table(tmp_path: Path, columns: dict[str, object], message: str) -> None:
    with pytest.raises(HarnetError, match=rf"p\.parquet: {message}") as caught:
        list(load(parquet(tmp_path / "p.parquet", **columns)))
    assert "\n" not in str(caught.value)


def test_parquet_texts_with_minus_signs(tmp_path: Path) -> None:
    stamps = [f"2024-05-31T23:59:{number:02d}\N{MINUS SIGN}03:00" for number in range(20)]
    x = [f"\N{MINUS SIGN}0.0{number:02d}" for number in range(20)]
    (one,) = load(parquet(tmp_path / "p.parquet", time=stamps, x=x, y=[0.0] * 20, z=[1.0] * 20))
    assert one.recording.times[0] == np.datetime64("2024-06-01T02:59:00", "s").astype(int)
    np.testing.assert_allclose(one.recording.acceleration[:, 0], -np.arange(20) / 1000, atol=1e-7)


def test_parquet_columns_of_one_name_and_usual_names(tmp_path: Path) -> None:
    columns = [[0.0, 0.02], [0.0, 0.0], [0.0, 0.0], [1.0, 1.0]]
    pq.write_table(pa.table([*columns, [9, 9]], names=["time", "x", "y", "z", "x"]), tmp_path / "p.parquet")
    with pytest.raises(HarnetError, match="more than one column is called 'x'"):
        list(load(tmp_path / "p.parquet"))
    pq.write_table(pa.table(columns, names=["Time", "acc_x", "acc_y", "acc_z"]), tmp_path / "p.parquet")
    assert len(list(load(tmp_path / "p.parquet"))) == 1


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_parquet_is_refused(tmp_path: Path, damage: str) -> None:
    times = np.arange(5000) / 50
    path = parquet(tmp_path / "p.parquet", time=times, x=times, y=times, z=times)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 3 : len(content) // 3 + 2000] = bytes(2000)
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    with pytest.raises(HarnetError, match=r"p\.parquet: ") as caught:
        list(load(path))
    assert "\n" not in str(caught.value)
