"""ActiLife's RAW exports, with and without stamps and names."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_shards.readers import load
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.table_files import notes, signal

VALUES = signal(600).round(3)
FIRST = (
    "------------ Data File Created By ActiGraph {device} date format {form} at {rate} Hz  Filter Normal -----------"
)
FORMATS: dict[str, Callable[[str, str, str], str]] = {
    "dd.MM.yyyy": lambda y, m, d: f"{d}.{m}.{y}",
    "M/d/yyyy": lambda y, m, d: f"{int(m)}/{int(d)}/{y}",
    "dd/MM/yyyy": lambda y, m, d: f"{d}/{m}/{y}",
    "yyyy-MM-dd": lambda y, m, d: f"{y}-{m}-{d}",
    "dd.MM.yy": lambda y, m, d: f"{d}.{m}.{y[2:]}",
    "M/d/yy": lambda y, m, d: f"{int(m)}/{int(d)}/{y[2:]}",
    "d. M. yyyy": lambda y, m, d: f"{int(d)}. {int(m)}. {y}",
    "yyyy. MM. dd.": lambda y, m, d: f"{y}. {m}. {d}.",
    "d-M-yyyy": lambda y, m, d: f"{int(d)}-{int(m)}-{y}",
}


def actilife(
    folder: Path, form: str, stamped: bool, names: bool, separator: str, rate: int = 30, **change: str
) -> Loaded:
    true = np.datetime64("2020-03-06T10:15:00.000") + (np.arange(600) * 1000 // rate).astype("timedelta64[ms]")
    sign = "," if separator == ";" else "."

    def date(stamp: str) -> str:
        return FORMATS[form](*stamp.split("T")[0].split("-"))

    header = {
        "first": FIRST.format(device="GT3X+ ActiLife v6.13.4 Firmware v1.9.2", form=form, rate=rate),
        "serial": "Serial Number: MOS2E31191189",
        "time": "Start Time 10:15:00",
        "date": f"Start Date {date(str(true[0]))}",
        "epoch": "Epoch Period (hh:mm:ss) 00:00:00",
        "dtime": "Download Time 10:41:48",
        "ddate": "Download Date 09.04.2020",
        "memory": "Current Memory Address: 0",
        "battery": "Current Battery Voltage: 3.85     Mode = 12",
        "rule": "-" * 50,
    } | change
    columns = [*(["Timestamp"] if stamped else []), *(f"Accelerometer {axis}" for axis in "XYZ")]
    rows = []
    for stamp, row in zip(true, VALUES.tolist(), strict=True):
        cells = [f"{value:.3f}".replace(".", sign) for value in row]
        at = f"{date(str(stamp))} {str(stamp).split('T')[1]}"
        rows.append(separator.join([*([at] if stamped else []), *cells]))
    path = folder / "P1.csv"
    path.write_text("\n".join([*header.values(), *([separator.join(columns)] if names else []), *rows]) + "\n")
    (found,) = load(path)
    return found.recording


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("form", FORMATS)
def test_actilife(form: str, stamped: bool, names: bool, separator: str, tmp_path: Path) -> None:
    found = actilife(tmp_path, form, stamped, names, separator)
    assert (found.nominal_rate, found.clock, len(found.times), found.notes) == (30, "local", 600, ())
    assert found.times[0] == np.datetime64("2020-03-06T10:15:00", "s").astype(int)
    np.testing.assert_allclose(np.diff(found.times), 1 / 30, atol=1.1e-3)
    np.testing.assert_array_equal(found.acceleration, VALUES.astype(np.float32))
    assert (found.device, found.metadata) == ("ActiGraph GT3X+", {"device_id": "MOS2E31191189"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": "Epoch Period (hh:mm:ss) 00:00:10"}, "counts per epoch"),
        ({"date": "Start Date 45.03.2020"}, "is not a date in the format dd.MM.yyyy of line 1"),
        ({"date": "Beginn 06.03.2020"}, "the header lacks the rate"),
        ({"first": FIRST.format(device="GT3X+", form="dd.MM.yyyy", rate="many")}, "the header lacks the rate"),
    ],
)
def test_actilife_headers_that_are_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=rf"P1\.csv: .*{message}"):
        actilife(tmp_path, "dd.MM.yyyy", True, True, ",", **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first": FIRST.format(device="GT3X+", form="dd.MM.yyyy", rate=100)}, "states 100 Hz, .* the rows have 30 Hz"),
        ({"date": "Start Date 03.06.2020"}, "the rows begin at 2020-03-06 .*, but the header's start is 2020-06-03"),
        ({"date": "Start Date 08.03.2020"}, "the rows begin at 2020-03-06 .*, but the header's start is 2020-03-08"),
    ],
)
def test_actilife_with_stamps_that_contradict_the_header(change: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=rf"P1\.csv: .*{message}"):
        actilife(tmp_path, "dd.MM.yyyy", True, True, ",", **change)


@pytest.mark.parametrize(("form", "date"), [("yyyy-dd-MM", "2020-06-03"), ("yy/MM/dd", "10/03/06")])
def test_actilife_with_dates_of_an_unusual_order(form: str, date: str, tmp_path: Path) -> None:
    header = {"first": FIRST.format(device="GT3X+", form=form, rate=30), "date": f"Start Date {date}"}
    with pytest.raises(HarnetError, match=rf"is not a date in the format {form} of line 1"):
        actilife(tmp_path, "dd.MM.yyyy", False, True, ",", **header)


@pytest.mark.parametrize("names", [True, False])
@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("row", ["", "0.1", "x", "long"])
def test_actilife_with_an_odd_first_row(row: str, stamped: bool, names: bool, tmp_path: Path) -> None:
    actilife(tmp_path, "dd.MM.yyyy", stamped, names, ",")
    path = tmp_path / "P1.csv"
    lines = path.read_text().splitlines()
    cells = lines[10 + names].split(",")
    odd = {"": [*cells[:-3], "", "", ""], "0.1": cells[:-1], "x": [*cells[:-2], "x", "0.1"], "long": [*cells, "0.1"]}
    lines[10 + names] = ",".join(odd[row])
    path.write_text("\n".join(lines) + "\n")
    (found,) = load(path)
    assert sum(notes(found.recording).values()) == 1
    assert len(found.recording.times) == 599
    assert found.recording.times[0] == pytest.approx(1583489700 + 1 / 30, abs=1e-3)


def test_actilife_with_a_fourth_column_that_is_no_stamp(tmp_path: Path) -> None:
    actilife(tmp_path, "dd.MM.yyyy", False, False, ",")
    path = tmp_path / "P1.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:10] + [f"{line},21.5" for line in lines[10:]]) + "\n")
    with pytest.raises(HarnetError, match=r"P1\.csv: no rows of x,y,z or of a stamp and x,y,z below the header"):
        list(load(path))


@pytest.mark.parametrize("stamped", [True, False])
@pytest.mark.parametrize("names", [True, False])
def test_actilife_with_a_shorter_header(names: bool, stamped: bool, tmp_path: Path) -> None:
    found = actilife(tmp_path, "dd.MM.yyyy", stamped, names, ",", dtime="", battery="")
    assert (len(found.times), notes(found)) == (600, {"blank lines": 2})
    np.testing.assert_array_equal(found.acceleration, VALUES.astype(np.float32))


@pytest.mark.parametrize("stamped", [True, False])
def test_actilife_of_two_recordings_is_refused(stamped: bool, tmp_path: Path) -> None:
    actilife(tmp_path, "dd.MM.yyyy", stamped, True, ",")
    path = tmp_path / "P1.csv"
    path.write_text(path.read_text() * 2)
    with pytest.raises(HarnetError, match=r"P1\.csv: line 612 is the header of another recording: files were joined"):
        list(load(path))


@pytest.mark.parametrize(("names", "message"), [(True, "rows have 6 cells below 3 names"), (False, "no rows of x,y,z")])
def test_actilife_with_commas_as_separators_and_decimal_signs(names: bool, message: str, tmp_path: Path) -> None:
    actilife(tmp_path, "dd.MM.yyyy", False, names, ";")
    path = tmp_path / "P1.csv"
    path.write_text(path.read_text().replace(";", ","))
    with pytest.raises(HarnetError, match=rf"P1\.csv: {message}.*with another separator"):
        list(load(path))
