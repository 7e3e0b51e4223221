"""Headers of any length, decimal commas, repeated and misplaced pages: how the GENEActiv reader handles them."""

from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import load
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.test_readers_geneactiv import PER_PAGE, header, page, write

PAGES = 30


@pytest.fixture
def pages() -> list[str]:
    return [page(number, 30 + number / 10) for number in range(PAGES)]


def recorded(path: Path, pages: list[str], head: str | None = None) -> Loaded:
    return next(load(write(path, pages, head))).recording


def same(one: Loaded, other: Loaded) -> None:
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.acceleration, other.acceleration)
    assert one.temperature is not None
    assert other.temperature is not None
    np.testing.assert_array_equal(one.temperature.celsius, other.temperature.celsius)
    assert (one.nominal_rate, one.range_g, one.metadata) == (other.nominal_rate, other.range_g, other.metadata)


def with_comma(text: str, *keys: str) -> str:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.partition(":")[0] in keys:
            lines[number] = line.replace(".", ",")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "keys",
    [
        ("Temperature",),
        ("Battery voltage",),
        ("Measurement Frequency",),
        ("Temperature", "Battery voltage", "Measurement Frequency"),
    ],
)
def test_decimal_commas_in_pages(tmp_path: Path, pages: list[str], keys: tuple[str, ...]) -> None:
    plain = recorded(tmp_path / "plain.bin", pages)
    comma = recorded(tmp_path / "comma.bin", [with_comma(each, *keys) for each in pages])
    assert comma.notes == ()
    same(comma, plain)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("100 Hz", "100,0 Hz"),
        ("100 Hz", "60 Hz"),  # the pages say 100
        ("100 Hz", ""),
        ("-8 to 8", "-8,0 to 8,0"),
        ("-8 to 8", "-8 g to 8 g"),
        ("x gain:25600", "x gain:25600,0"),
        ("y offset:-200", "y offset:-200,0"),
        ("Volts:300", "Volts:3,00"),
    ],
)
def test_decimal_commas_in_the_header(tmp_path: Path, pages: list[str], old: str, new: str) -> None:
    head = header()
    assert old in head
    comma = recorded(tmp_path / "comma.bin", pages, head.replace(old, new))
    assert comma.notes == ()
    same(comma, recorded(tmp_path / "plain.bin", pages))


def test_a_temperature_that_is_no_number_is_no_zero(tmp_path: Path, pages: list[str]) -> None:
    pages[3] = pages[3].replace("Temperature:30.3", "Temperature:")
    pages[4] = pages[4].replace("Temperature:30.4", "Temperature:3O.4")
    recording = recorded(tmp_path / "x.bin", pages)
    assert recording.notes == (Note("missing temperatures", 2, "the first nan °C at 2024-03-01 12:00:09"),)
    assert recording.temperature is not None
    assert len(recording.temperature.celsius) == PAGES - 2
    assert recording.temperature.celsius.min() == 30
    assert len(recording.times) == PAGES * PER_PAGE


@pytest.mark.parametrize(
    "notes",
    [
        "Subject Notes:one\ntwo\nthree",
        "Subject Notes:one\n" + "more and more\n" * 400 + "the end",
        "Subject Notes:x gain:1\nx gain:2\nMeasurement Frequency:5 Hz\nAccelerometer Range:-2 to 2\n\n\nRecorded Data",
        "Recorded Data\nPage Time:soon",
    ],
)
def test_notes_of_several_lines(tmp_path: Path, pages: list[str], notes: str) -> None:
    plain = recorded(tmp_path / "plain.bin", pages)
    head = header().replace("Date of Birth:1950-1-1", f"{notes}\nDate of Birth:1950-1-1")
    recording = recorded(tmp_path / "notes.bin", pages, head)
    assert recording.notes == ()
    same(recording, plain)


@pytest.mark.parametrize("removed", [1, 3, 5])
def test_a_shorter_header(tmp_path: Path, pages: list[str], removed: int) -> None:
    head = header().replace("\n" * 6, "\n" * (6 - removed), 1)
    recording = recorded(tmp_path / "short.bin", pages, head)
    assert recording.notes == ()
    same(recording, recorded(tmp_path / "plain.bin", pages))


@pytest.mark.parametrize("end", ["\r\n", "\r\r\n", "\n\n", " \n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "\n"])
def test_ends_of_lines_and_what_comes_first(tmp_path: Path, pages: list[str], end: str, start: str) -> None:
    path = tmp_path / "crlf.bin"
    path.write_bytes((start + (header() + "".join(pages)).replace("\n", end)).encode())
    (found,) = load(path)
    assert found.recording.notes == ()
    same(found.recording, recorded(tmp_path / "plain.bin", pages))


@pytest.mark.parametrize("how", ["file after file", "each page", "a part"])
def test_pages_that_are_there_twice_are_read_once(tmp_path: Path, pages: list[str], how: str) -> None:
    again, count = {
        "file after file": ([*pages, header(), *pages], PAGES),
        "each page": ([each for one in pages for each in (one, one)], PAGES),
        "a part": (pages[:20] + pages[15:], 5),
    }[how]
    recording = recorded(tmp_path / "twice.bin", again)
    assert recording.notes == (Note("repeated blocks", count, f"pages, of {PAGES + count}"),)
    same(recording, recorded(tmp_path / "plain.bin", pages))


@pytest.mark.parametrize("year", ["1999", "2031"])
@pytest.mark.parametrize("at", [0, 1, 15, PAGES - 1])
def test_a_page_of_another_time_is_left_out(tmp_path: Path, pages: list[str], at: int, year: str) -> None:
    plain = recorded(tmp_path / "plain.bin", pages)
    pages[at] = pages[at].replace("Page Time:2024", f"Page Time:{year}")
    recording = recorded(tmp_path / "stray.bin", pages)
    (note,) = recording.notes
    assert (note.kind, note.count) == ("isolated stamps", 1)
    assert f"number {at + 1}, stamped {year}" in note.detail
    np.testing.assert_array_equal(recording.times, np.delete(plain.times, slice(at * PER_PAGE, (at + 1) * PER_PAGE)))


def test_a_clock_that_was_reset_is_refused(tmp_path: Path, pages: list[str]) -> None:
    with pytest.raises(HarnetError, match=r"reset\.bin: backward times: 10 of 30, pages; the first is number 21, stam"):
        recorded(tmp_path / "reset.bin", pages[:20] + [each.replace("-01 12:", "-01 11:") for each in pages[20:]])


def test_pages_that_are_not_in_the_order_of_their_numbers_are_refused(tmp_path: Path, pages: list[str]) -> None:
    with pytest.raises(HarnetError, match=r"x\.bin: the pages are not in the order .*: number 21 is .*: copy the file"):
        recorded(tmp_path / "x.bin", pages[10:] + pages[:10])


def test_a_page_of_another_rate_is_damaged(tmp_path: Path, pages: list[str]) -> None:
    pages[5] = pages[5].replace("Measurement Frequency:100.0", "Measurement Frequency:10.0")
    recording = recorded(tmp_path / "rate.bin", pages)
    assert recording.notes == (Note("damaged blocks", 1, f"pages, of {PAGES}"),)
    assert len(recording.times) == (PAGES - 1) * PER_PAGE


def test_pages_of_another_device(tmp_path: Path, pages: list[str]) -> None:
    other = [each.replace("Code:012345", "Code:067890") for each in pages]
    recording = recorded(tmp_path / "two.bin", pages[:20] + other[20:])
    assert recording.notes == (Note("other sessions", 10, "pages of another device, of 30"),)
    assert len(recording.times) == 20 * PER_PAGE
    with pytest.raises(HarnetError, match=r"x\.bin: the header is of device 012345, the pages are of 067890"):
        recorded(tmp_path / "x.bin", other)


@pytest.mark.parametrize("first", [0, 30, 100])
def test_pages_after_the_header_of_another_recording(tmp_path: Path, pages: list[str], first: int) -> None:
    whole = recorded(tmp_path / "whole.bin", "".join(pages))
    later = header(A_Name="Another") + "".join(page(number) for number in range(first, first + 5))
    recording = recorded(tmp_path / "x.bin", "".join(pages) + later)
    assert recording.notes == (Note("other sessions", 5, "pages after another recording's header, of 35"),)
    np.testing.assert_array_equal(recording.times, whole.times)
    np.testing.assert_array_equal(recording.acceleration, whole.acceleration)
    back = recorded(
        tmp_path / "y.bin", "".join(pages[:6]) + later + header().replace("\n", "\r\n") + "".join(pages[6:])
    )
    np.testing.assert_array_equal(back.times, whole.times)
    with pytest.raises(HarnetError, match=r"z\.bin: all intact pages follow another header: split the file there"):
        recorded(tmp_path / "z.bin", pages[0].replace("Page Time", "Page") + later)


def test_a_first_page_whose_first_line_is_damaged(tmp_path: Path, pages: list[str]) -> None:
    pages[0] = pages[0].replace("Recorded Data", "Rec\x7frded Data")
    recording = recorded(tmp_path / "x.bin", pages)
    assert recording.notes == (Note("damaged blocks", 1, f"pages, of {PAGES}"),)
    assert len(recording.times) == (PAGES - 1) * PER_PAGE


def test_a_clock_that_was_set_forward_is_refused(tmp_path: Path, pages: list[str]) -> None:
    pages[20:] = [each.replace("Page Time:2024", "Page Time:2025") for each in pages[20:]]
    with pytest.raises(HarnetError, match=r"x\.bin: the clock was set forward .* pages, number 21 is stamped 2025"):
        recorded(tmp_path / "x.bin", pages)


def test_a_temperature_that_cannot_be_is_left_out(tmp_path: Path, pages: list[str]) -> None:
    pages[3] = pages[3].replace("Temperature:30.3", "Temperature:-3276,8")
    recording = recorded(tmp_path / "x.bin", pages)
    assert recording.notes == (Note("missing temperatures", 1, "the first -3277 °C at 2024-03-01 12:00:09"),)
    assert recording.temperature is not None
    assert recording.temperature.celsius.min() == 30


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("left", [100, 3600 - 1200, 3600 - 1201])
def test_a_page_that_lost_its_end(tmp_path: Path, pages: list[str], left: int, end: str) -> None:
    plain = recorded(tmp_path / "plain.bin", pages)
    head, _, samples = pages[10].rstrip("\n").rpartition("\n")
    pages[10] = f"{head}\n{samples[:left]}{end}"
    recording = recorded(tmp_path / "x.bin", pages)
    assert recording.notes == (Note("damaged blocks", 1, f"pages, of {PAGES}"),)
    np.testing.assert_array_equal(recording.times, np.delete(plain.times, slice(10 * PER_PAGE, 11 * PER_PAGE)))


def test_the_last_page_may_be_short(tmp_path: Path, pages: list[str]) -> None:
    pages[-1] = pages[-1][: -1 - 1200] + "\n"
    recording = recorded(tmp_path / "x.bin", pages)
    assert recording.notes == ()
    assert len(recording.times) == PAGES * PER_PAGE - 100
