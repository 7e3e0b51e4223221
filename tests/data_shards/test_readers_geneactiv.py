"""The GENEActiv reader, on files written here from the manufacturer's description of the pages."""

import datetime
from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import geneactiv, load
from harnet.errors import HarnetError

START = datetime.datetime(2024, 3, 1, 12, 0, 0)
PER_PAGE, RATE = 300, 100
GAIN, OFFSET = (25_600, 25_500, 25_400), (100, -200, 300)


def header(**changes: str) -> str:
    lines = [
        *("Device Identity", "Device Unique Serial Code:012345", "Device Type:GENEActiv", "Device Model:1.2"),
        *("Device Firmware Version:Ver5", "Calibration Date:2020-01-01 00:00:00:000", "", "", "", ""),
        *("Device Capabilities", "Accelerometer Range:-8 to 8", "Accelerometer Units:g", "", "", "", "", "", "", ""),
        *("Configuration Info", "Measurement Frequency:100 Hz", "Time Zone:GMT +01:00", "", "", ""),
        *("Subject Info", "Subject Code:A Name", "Date of Birth:1950-1-1", *[""] * 16),
        *("Calibration Data", *(f"{a} gain:{g}\n{a} offset:{o}" for a, g, o in zip("xyz", GAIN, OFFSET, strict=True))),
        *("Volts:300", "Lux:800", "", "Memory Status", "Number of Pages:99999"),
    ]
    text = "\n".join(lines)
    text += "\n" * (59 - text.count("\n"))
    for old, new in changes.items():
        assert old.replace("_", " ") in text
        text = text.replace(old.replace("_", " "), new)
    return text


def counts(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-2048, 2048, (PER_PAGE, 3))


def page(number: int, celsius: float = 30.0) -> str:
    time = START + datetime.timedelta(seconds=number * PER_PAGE / RATE)
    x, y, z = (counts(number) & 0xFFF).T.astype(object)
    samples = "".join(f"{a << 36 | b << 24 | c << 12:012X}" for a, b, c in zip(x, y, z, strict=True))
    lines = [
        *("Recorded Data", "Device Unique Serial Code:012345", f"Sequence Number:{number}"),
        *(f"Page Time:{time:%Y-%m-%d %H:%M:%S}:{time.microsecond // 1000:03d}", "Unassigned:"),
        *(f"Temperature:{celsius}", "Battery voltage:4.1", "Device Status:Recording", "Measurement Frequency:100.0"),
    ]
    return "\n".join([*lines, samples]) + "\n"


@pytest.fixture
def pages() -> list[str]:
    return [page(number, 30 + number / 10) for number in range(12)]


def write(path: Path, pages: list[str], head: str | None = None) -> Path:
    path.write_text((header() if head is None else head) + "".join(pages))
    return path


def g(numbers: list[int]) -> np.ndarray:
    raw = np.concatenate([counts(number) for number in numbers])
    return ((raw * 100 - np.array(OFFSET)) / np.array(GAIN)).astype(np.float32)


def test_times_values_temperature_and_metadata(tmp_path: Path, pages: list[str]) -> None:
    (found,) = load(write(tmp_path / "visit.bin", pages))
    recording = found.recording
    np.testing.assert_allclose(recording.acceleration, g(list(range(12))), atol=1e-6)
    start = START.replace(tzinfo=datetime.UTC).timestamp()
    np.testing.assert_allclose(recording.times, start + np.arange(12 * PER_PAGE) / RATE, atol=1e-6)
    assert (recording.nominal_rate, recording.range_g, recording.clock) == (100, 8, "local")
    assert recording.metadata == {"device_id": "012345", "firmware": "Ver5", "time_zone": "GMT +01:00"}
    assert recording.temperature is not None
    np.testing.assert_allclose(recording.temperature.celsius, 30 + np.arange(12) / 10, rtol=1e-6)
    assert recording.notes == ()


def test_pieces_give_what_the_whole_gives(tmp_path: Path, pages: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "visit.bin", pages)
    whole = next(load(path)).recording
    monkeypatch.setattr(geneactiv, "PAGES_AT_A_TIME", 5)
    pieces = next(load(path)).recording
    np.testing.assert_array_equal(pieces.times, whole.times)
    np.testing.assert_array_equal(pieces.acceleration, whole.acceleration)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("Page Time:2024-03-01", "Page Time:2024-13-01"),
        ("Page Time:", "Pag\x00 Time:"),
        ("Measurement Frequency:100.0", "Measurement Frequency:1?0.0"),
        ("Measurement Frequency:100.0", "Measurement Frequency:0.0"),
        ("Device Status:Recording\n", ""),
        ("Recorded Data", "Rec\x7frded Data"),
        ("\n0", "\nX"),
        ("\nUnassigned:", "\nUnassigned:\nUnassigned:"),
    ],
)
def test_a_damaged_page_is_dropped(tmp_path: Path, pages: list[str], old: str, new: str) -> None:
    samples = pages[4].rindex("\n", 0, -1) + 1
    pages[4] = pages[4][:samples] + "0" + pages[4][samples + 1 :]
    assert old in pages[4]
    pages[4] = pages[4].replace(old, new, 1)
    recording = next(load(write(tmp_path / "damaged.bin", pages))).recording
    assert recording.notes == (Note("damaged blocks", 1, "pages, of 12"),)
    good = [number for number in range(12) if number != 4]
    np.testing.assert_allclose(recording.acceleration, g(good), atol=1e-6)
    assert np.flatnonzero(np.diff(recording.times) > 2.9).tolist() == [4 * PER_PAGE - 1]


@pytest.mark.parametrize("keep", [30, 900, 3000])
def test_a_file_cut_within_a_page(tmp_path: Path, pages: list[str], keep: int) -> None:
    recording = next(load(write(tmp_path / "cut.bin", [*pages[:11], pages[11][:keep]]))).recording
    assert recording.notes == (Note("cut end", 1, "within a page"),)
    assert len(recording.times) == 11 * PER_PAGE


def test_a_last_line_without_its_end_is_whole(tmp_path: Path, pages: list[str]) -> None:
    recording = next(load(write(tmp_path / "end.bin", [*pages[:11], pages[11].rstrip()]))).recording
    assert recording.notes == ()
    assert len(recording.times) == 12 * PER_PAGE


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (header(x_gain="x ga?n"), "the header .* is damaged"),
        (header(x_gain="x gain:0\nx was"), "the header .* is damaged"),
        (header().replace("y gain:25500", "y gain:15500"), "the header .* is damaged"),
        (header().replace("z offset:300", "z offset:90300"), "the header .* is damaged"),
        (header()[:300], "the header .* is damaged"),
        (header().replace("-8 to 8", ""), "the header gives '' as 'Accelerometer Range'"),
    ],
)
def test_a_damaged_header_is_refused(tmp_path: Path, pages: list[str], head: str, message: str) -> None:
    with pytest.raises(HarnetError, match=rf"head\.bin: {message}") as caught:
        list(load(write(tmp_path / "head.bin", pages, head)))
    assert "\n" not in str(caught.value)


def test_no_page(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="no intact page among 0"):
        list(load(write(tmp_path / "none.bin", [])))


def test_a_file_without_line_ends_is_not_read_as_one_line(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="is damaged"):
        list(load(write(tmp_path / "long.bin", ["A" * (1 << 22)], "Device Identity")))
