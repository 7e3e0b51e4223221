"""GENEActiv (.bin): a text header, then pages of ten lines, the last of which holds 300 samples in hexadecimal.

Layout: GENEActiv Operating Instructions, "Decoding .bin files" (Activinsights). `geneactiv_pages` selects the pages,
and the library `actfast` decodes them. A damaged page, a decimal comma or a header that does not have exactly 59 lines
would stop it or distort the result, so it is given a temporary file with only what it needs.
"""

import tempfile
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import actfast
import numpy as np

from data_shards.readers.device_reader import DeviceReader, Found, ReadOptions
from data_shards.readers.geneactiv_pages import (
    HEADER_START,
    LONGEST_LINE,
    PAGE_START,
    Page,
    Pages,
    choose_pages,
    number,
    read_pages,
)
from data_shards.readers.oddities import Tally
from data_shards.readers.samples import Thermometer, forward
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

HEADER_LINES = 59
"""Lines of a header whose notes have one line each; the library expects the first page after them."""
HEADER_BYTES = 1 << 18
"""Maximum size of a header: notes may have any number of lines."""
MAKERS_GAIN = 25_600
"""Typical gain: 2,048 counts for 8 g, times 100; devices differ by a few per cent."""
PAGES_AT_A_TIME = 2000
"""Pages decoded together: 600,000 samples."""

_NUMBERS = tuple(f"{axis} {what}" for axis in "xyz" for what in ("gain", "offset"))
"""Factory calibration; without it the library would return raw counts."""


class GENEActiv(DeviceReader):
    """Reader of GENEActiv .bin. Damaged pages are dropped and become gaps in time."""

    kind = "GENEActiv .bin"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the first line of the header."""
        return head.removeprefix(BOM_UTF8).lstrip().startswith(HEADER_START)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` if the header is damaged or no page is usable."""
        with path.open("rb") as file, tempfile.TemporaryDirectory(prefix="harnet-") as folder:
            fields, lost = _header(file, path)
            tally = Tally(path)
            thermometer = Thermometer(tally)
            pages = choose_pages(file, fields.get("Device Unique Serial Code", "").encode(), lost, tally)
            decoder = _Decoder(fields, Path(folder) / "pages.bin", path)
            recording = Recording(
                pieces=forward(_pieces(file, pages, decoder, thermometer), tally, pages.rate),
                nominal_rate=pages.rate,
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


def _pieces(file: IO[bytes], pages: Pages, decoder: "_Decoder", thermometer: Thermometer) -> Iterator[SampleChunk]:
    for some in read_pages(file, pages, PAGES_AT_A_TIME):
        celsius = np.array([page.celsius for page in some], np.float32)
        thermometer.add(np.array([page.stamp for page in some]), celsius)
        yield decoder.samples(some)


def _header(file: IO[bytes], path: Path) -> tuple[dict[str, str], int]:
    """The `key:value` lines before the first page, and the number of damaged pages among them.

    The file is left at the first page. A study's notes may have any number of lines with any content. So for the facts
    about the device, which precede the notes, the first value counts; for the calibration, which follows them, the last
    one. No page precedes the calibration.
    """
    fields: dict[str, str] = {}
    read = lost = 0
    while read < HEADER_BYTES and (line := file.readline(LONGEST_LINE)):
        calibrated = all(name in fields for name in _NUMBERS)
        if line.startswith(PAGE_START) and calibrated:
            file.seek(-len(line), 1)
            break
        read += len(line)
        # A line of a page whose first line is damaged.
        lost += line.startswith(b"Page Time:") and calibrated
        key, colon, value = line.decode("utf-8", "replace").partition(":")
        key, value = key.strip(), value.strip(" \0\r\n")
        if colon and (key in _NUMBERS or key not in fields):
            fields[key] = value
    if not all(_plausible(fields, axis) for axis in "xyz"):
        raise HarnetError(f"{path}: the header (all lines before the first page) is damaged: copy the file again")
    return fields, lost


def _plausible(fields: dict[str, str], axis: str) -> bool:
    """Whether 12 bits span roughly ±8 g (g = (100 · count - offset) / gain), since the header has no checksum."""
    gain, offset = (number(fields.get(f"{axis} {what}", "").encode()) for what in ("gain", "offset"))
    return 0.8 < gain / MAKERS_GAIN < 1.25 and abs(offset) < gain


def _number(fields: dict[str, str], key: str, path: Path) -> float:
    """The last number in a field, ignoring its unit: "-8 to 8", "-8 g to 8 g"."""
    words = fields.get(key, "").rstrip(" g").split()
    found = number(words[-1].encode()) if words else float("nan")
    if not found > 0:
        raise HarnetError(f"{path}: the header gives {fields.get(key)!r} as {key!r}: copy the file again")
    return found


class _Decoder:
    """Decodes pages with the library, through a temporary file."""

    def __init__(self, fields: dict[str, str], temporary: Path, path: Path) -> None:
        numbers = [f"{name}:{number(fields[name].encode()):.0f}" for name in _NUMBERS]
        lines = [HEADER_START.decode(), "", "Calibration Data", *numbers, "Volts:300", "Lux:800", "", "Memory Status"]
        self._lines = lines
        self._temporary = temporary
        self._path = path

    def samples(self, pages: list[Page]) -> SampleChunk:
        """Times and acceleration in these pages."""
        lines = [*self._lines, f"Number of Pages:{len(pages)}"]
        header = "\n".join(lines) + "\n" * (HEADER_LINES - len(lines) + 1)
        self._temporary.write_bytes(header.encode() + b"".join(map(_written, pages)))
        try:
            series = actfast.read(self._temporary)["timeseries"]
        except ValueError as error:
            raise HarnetError(
                f"{self._path}: cannot be decoded ({error}): copy the file again, or exclude it"
            ) from error
        if len(series["low_frequency"]["datetime"]) != len(pages):
            raise HarnetError(f"{self._path}: {len(pages)} pages, of which the library decoded only some: exclude it")
        fast = series["high_frequency"]
        return SampleChunk(fast["datetime"] / 1e9, fast["acceleration"])


def _written(page: Page) -> bytes:
    """The page as the device would write it, with only the lines that the library needs."""
    time = np.datetime64(round(page.stamp * 1000), "ms").item()
    lines = [
        PAGE_START.decode(),
        "Device Unique Serial Code:",
        "Sequence Number:0",
        f"Page Time:{time:%Y-%m-%d %H:%M:%S}:{time.microsecond // 1000:03d}",
        "Unassigned:",
        "Temperature:0",
        "Battery voltage:0",
        "Device Status:Recording",
        f"Measurement Frequency:{page.rate:g}",
    ]
    return "\n".join(lines).encode() + b"\n" + page.samples + b"\n"
