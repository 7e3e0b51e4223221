"""GENEActiv (.bin): a text header of 59 lines, then pages of ten lines, the last of them 300 samples in hexadecimal.

Layout: GENEActiv Operating Instructions, "Decoding .bin files" (Activinsights). The library `actfast` decodes pages;
a damaged page ends or distorts what it reads, so pages are checked here and only sound ones are handed to it.
"""

import re
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO

import actfast
import numpy as np

from data_shards.readers.oddities import Tally
from data_shards.readers.protocol import Found, Reader, ReadOptions
from data_shards.readers.samples import Thermometer, forward
from data_shards.recording import Piece, Recording
from harnet.errors import HarnetError

HEADER_START = b"Device Identity"
HEADER_LINES = 59
PAGE_START = b"Recorded Data"
PAGE_LINES = 10
HEX_PER_SAMPLE = 12
"""Six bytes: 12 bits an axis, 10 bits of light, a button, one spare."""
FULL_LINE = 300 * HEX_PER_SAMPLE
LONGEST_LINE = 1 << 13
"""Twice a line of samples; a file without line ends must not be read as one line."""
MAKERS_GAIN = 25_600
"""2,048 counts for 8 g, times 100; devices differ by a few per cent."""
MOST_G = 8 / 0.8 + 1
"""The most that a plausible gain and offset make of 12 bits."""
PAGES_AT_A_TIME = 2000
"""600,000 samples."""

_PAGE_TIME = re.compile(rb"Page Time:(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d):(\d{3})\s*")
_PAGE_RATE = re.compile(rb"Measurement Frequency:(\d+(?:\.\d+)?)\s*")
_PAGE_COUNT = re.compile(rb"Number of Pages:\s*\d+")
_NUMBERS = (b"x gain", b"x offset", b"y gain", b"y offset", b"z gain", b"z offset")
"""Calibration by the maker; without them the library would give raw counts."""


class GENEActiv(Reader):
    """Sound pages only: damaged ones are left out and show as a jump in time."""

    kind = "GENEActiv .bin"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the first line of the header."""
        return head.startswith(HEADER_START)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` if the header or all pages are damaged."""
        with path.open("rb") as file, tempfile.TemporaryDirectory(prefix="harnet-") as folder:
            header = _header(file, path)
            fields = _fields(header)
            tally, thermometer = Tally(path), Thermometer()
            decode = partial(_decode, header, temporary=Path(folder) / "pages.bin", path=path)
            recording = Recording(
                pieces=forward(_pieces(_Pages(file), decode, thermometer, tally), tally),
                nominal_rate=_number(fields, "Measurement Frequency", path),
                device=f"GENEActiv {fields.get('Device Model', '')}".strip(),
                clock="local",
                range_g=_number(fields, "Accelerometer Range", path),
                temperature=thermometer.temperature,
                notes=tally.notes,
                metadata={
                    name: fields[key]
                    for name, key in (
                        ("device_id", "Device Unique Serial Code"),
                        ("firmware", "Device Firmware Version"),
                        ("time_zone", "Time Zone"),
                    )
                    if key in fields
                },
            )
            yield Found(recording, label=path.stem)


def _pieces(
    pages: "_Pages",
    decode: Callable[[list[bytes]], dict[str, "actfast.TimeseriesData"]],
    thermometer: Thermometer,
    tally: Tally,
) -> Iterator[Piece]:
    while some := pages.take(PAGES_AT_A_TIME):
        series = decode(some)
        fast, slow = series["high_frequency"], series["low_frequency"]
        thermometer.add(slow["datetime"] / 1e9, slow["temperature"])
        yield Piece(fast["datetime"] / 1e9, fast["acceleration"])
    if not pages.sound:
        raise HarnetError(f"{tally.named}: no sound page among {pages.damaged}: copy the file again")
    pages.count_in(tally)


class _Pages:
    """The pages of a file in order: sound ones are handed out, the others counted."""

    def __init__(self, file: IO[bytes]) -> None:
        self.damaged = 0
        self.sound = 0
        self.truncated = False
        self._pages = self._walk(file)

    def take(self, most: int) -> list[bytes]:
        """The next sound pages, `most` at most; empty at the end of the file."""
        return list(islice(self._pages, most))

    def count_in(self, tally: Tally) -> None:
        """Count what was dropped; complete once `take` has returned nothing."""
        tally.add("damaged blocks", self.damaged, f"pages, of {self.damaged + self.sound}")
        tally.add("cut end", int(self.truncated), "within a page")

    def _walk(self, file: IO[bytes]) -> Iterator[bytes]:
        page: list[bytes] = []
        astray = False
        while line := file.readline(LONGEST_LINE):
            if line.startswith(PAGE_START):
                self.damaged += bool(page)
                page = [line]
            elif page:
                page.append(line)
            elif line.strip():
                # Lines of no page: the line that began it is damaged. They count once.
                self.damaged += not astray
                astray = True
                continue
            if len(page) == PAGE_LINES:
                if not line.endswith(b"\n") and len(line) < FULL_LINE:
                    break  # the last line of the file, cut off
                sound = _sound(page)
                if sound:
                    self.sound += 1
                    yield b"".join(page).rstrip() + b"\n"
                # Of a damaged page, more lines may follow: it has been counted.
                self.damaged += not sound
                page, astray = [], not sound
        self.truncated = bool(page)


def _sound(page: list[bytes]) -> bool:
    """Whether a page of ten lines says when and how fast it was recorded, and holds whole samples."""
    stamps = [found for line in page if (found := _PAGE_TIME.fullmatch(line))]
    rates = [found for line in page if (found := _PAGE_RATE.fullmatch(line))]
    content = page[-1].strip()
    if len(stamps) != 1 or len(rates) != 1 or not float(rates[0][1]):
        return False
    try:
        datetime.fromisoformat(stamps[0][1].decode())
        bytes.fromhex(content.decode("ascii"))
    except ValueError:
        return False
    return 0 < len(content) <= FULL_LINE and len(content) % HEX_PER_SAMPLE == 0


def _header(file: IO[bytes], path: Path) -> bytes:
    """The 59 lines before the first page; the file is left at that page."""
    lines = [file.readline(LONGEST_LINE) for _ in range(HEADER_LINES)]
    header = b"".join(lines)
    whole = all(line.endswith(b"\n") for line in lines) and PAGE_START not in header
    numbers = {key: value for key, value in _fields(header).items() if key.encode() in _NUMBERS}
    known = len(numbers) == len(_NUMBERS) and all(re.fullmatch(r"-?\d+", value) for value in numbers.values())
    if not whole or not known or not all(_plausible(numbers, axis) for axis in "xyz"):
        raise HarnetError(f"{path}: the header (first {HEADER_LINES} lines) is damaged: copy the file again")
    return header


def _plausible(numbers: dict[str, str], axis: str) -> bool:
    """Whether 12 bits span about the range of ±8 g (g = (100 · count - offset) / gain); the header has no checksum."""
    gain, offset = int(numbers[f"{axis} gain"]), int(numbers[f"{axis} offset"])
    return 0.8 < gain / MAKERS_GAIN < 1.25 and abs(offset) < gain


def _fields(header: bytes) -> dict[str, str]:
    """`key:value` lines of the header; the free text about people and studies is never used."""
    lines = (line.partition(":") for line in header.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip(" \0\r") for key, colon, value in lines if colon}


def _number(fields: dict[str, str], key: str, path: Path) -> float:
    """The number that a field ends with, its unit aside: "85.7 Hz", "-8 to 8"."""
    found = re.search(r"(\d+(?:\.\d+)?)(?:\s*Hz)?$", fields.get(key, ""))
    if found is None or not float(found[1]):
        raise HarnetError(f"{path}: the header gives {fields.get(key)!r} as {key!r}: copy the file again")
    return float(found[1])


def _decode(header: bytes, pages: list[bytes], temporary: Path, path: Path) -> dict[str, "actfast.TimeseriesData"]:
    """What the library reads in a file of these pages alone; it reserves memory for as many as the header says."""
    counted = _PAGE_COUNT.sub(b"Number of Pages:%d" % len(pages), header)
    temporary.write_bytes(counted + b"".join(pages))
    try:
        series = actfast.read(temporary)["timeseries"]
    except ValueError as error:
        raise HarnetError(f"{path}: cannot be decoded ({error}): copy the file again, or leave it out") from error
    if len(series["low_frequency"]["datetime"]) != len(pages):
        raise HarnetError(f"{path}: {len(pages)} pages, of which the library read fewer: leave it out")
    most = float(np.abs(series["high_frequency"]["acceleration"]).max(initial=0))
    if most > MOST_G:  # the library takes a gain of 1 where it cannot read one
        raise HarnetError(f"{path}: {most:.4g} g recorded, so the header is damaged: copy the file again")
    return series
