"""Selecting the pages of a GENEActiv file that are intact and of the header's device, in order.

Layout: GENEActiv Operating Instructions, "Decoding .bin files" (Activinsights). A page is ten lines: "Recorded Data",
eight of `key:value`, and 300 samples in hexadecimal. Pages have no checksum.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.order import Pieces, in_order
from harnet.errors import HarnetError

HEADER_START = b"Device Identity"
PAGE_START = b"Recorded Data"
PAGE_LINES = 10
HEX_PER_SAMPLE = 12
"""Six bytes: 12 bits an axis, 10 bits of light, a button, one spare."""
FULL_LINE = 300 * HEX_PER_SAMPLE
LONGEST_LINE = 1 << 13
"""Twice a line of samples; a file without line ends must not be read as one line."""

_TIME = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[:.,](\d{3})")
_NUMBER = re.compile(rb"-?\d{1,9}(?:[.,]\d{1,9})?")
"""The program that writes the file uses the decimal sign of its computer."""


class Page(NamedTuple):
    """What a sound page says."""

    stamp: float
    """Seconds since 1970 of its first sample."""
    rate: float
    """Samples per second."""
    celsius: float
    """NaN where the line is not a number."""
    serial: bytes
    """Of the device; empty where it is not said."""
    sequence: int
    """-1 where it is not said."""
    samples: bytes
    """In hexadecimal, 12 digits each."""


@dataclass(frozen=True)
class Pages:
    """Where the pages are that are read, in order."""

    offsets: NDArray[np.int64]
    """(n,) first byte of each in the file."""
    sizes: NDArray[np.int64]
    """(n,) bytes."""


def choose_pages(file: IO[bytes], serial: bytes, lost: int, tally: Tally) -> Pages:
    """Check every page from where the file is, and choose those of one device, each once, in order of time.

    Args:
        file: At the first page.
        serial: Of the device, as the header gives it; empty where it does not.
        lost: Pages before that which are damaged.
        tally: Where what is left out is counted.

    Raises:
        HarnetError: no page can be used, or the clock was reset.
    """
    walk = _Walk(file)
    facts = [
        # Without the samples: a week has 200,000 pages, of 3,600 bytes each.
        (number, offset, len(raw), xxhash.xxh3_64_intdigest(raw.strip()), page._replace(samples=b""))
        for number, offset, raw, page in walk
    ]
    damaged = walk.damaged + lost
    if not facts:
        raise HarnetError(f"{tally.named}: no sound page among {damaged}: copy the file again")
    pages = [each[4] for each in facts]
    number_alone = serial.lstrip(b"0")
    own = np.array([not (page.serial and serial) or page.serial.lstrip(b"0") == number_alone for page in pages])
    if not own.any():
        other = Counter(page.serial for page in pages).most_common(1)[0][0]
        raise HarnetError(
            f"{tally.named}: the header is of device {serial.decode('ascii', 'replace')}, the pages are of "
            f"{other.decode('ascii', 'replace')}, which needs a calibration of its own: leave it out"
        )
    tally.add("other sessions", int((~own).sum()), f"pages of another device, of {len(own)}")
    # A recording has one rate: a page of another has a changed digit.
    rates = np.array([page.rate for page in pages])
    usable = own & (rates == Counter(rates[own].tolist()).most_common(1)[0][0])
    damaged += int((own & ~usable).sum())
    tally.add("damaged blocks", damaged, f"pages, of {damaged + int(usable.sum())}")
    tally.add("cut end", int(walk.truncated), "within a page")
    chosen = np.flatnonzero(usable)
    ordered = in_order(
        Pieces(
            "pages",
            stamps=np.array([pages[index].stamp for index in chosen]),
            identities=np.array([facts[index][3] for index in chosen], np.uint64),
            places=np.array([facts[index][0] for index in chosen]),
            sequence=np.array([pages[index].sequence for index in chosen]),
        ),
        tally,
    )
    chosen = chosen[ordered]
    return Pages(
        offsets=np.array([facts[index][1] for index in chosen], np.int64),
        sizes=np.array([facts[index][2] for index in chosen], np.int64),
    )


def read_pages(file: IO[bytes], pages: Pages, most: int) -> Iterator[list[Page]]:
    """The chosen pages in order, at most `most` at a time."""
    for start in range(0, len(pages.offsets), most):
        some = []
        for offset, size in zip(pages.offsets[start : start + most], pages.sizes[start : start + most], strict=True):
            file.seek(int(offset))
            page = parsed(file.read(int(size)))
            assert page is not None  # it was sound a moment ago
            some.append(page)
        yield some


def parsed(raw: bytes) -> Page | None:
    """What a page says; None unless it says when and how fast it was recorded, and holds whole samples."""
    lines = [line.strip() for line in raw.splitlines() if line.strip()]
    if len(lines) != PAGE_LINES:
        return None
    fields = dict(line.partition(b":")[::2] for line in lines[1:-1])
    time = _TIME.fullmatch(fields.get(b"Page Time", b"").strip())
    rate = number(fields.get(b"Measurement Frequency", b"").strip().removesuffix(b"Hz"))
    sequence = fields.get(b"Sequence Number", b"").strip()
    samples = lines[-1]
    if time is None or not rate > 0 or len(fields) != PAGE_LINES - 2:
        return None
    try:
        whole = datetime.fromisoformat(time[1].decode()).replace(tzinfo=UTC).timestamp()
        bytes.fromhex(samples.decode("ascii"))
    except ValueError:
        return None
    if not 0 < len(samples) <= FULL_LINE or len(samples) % HEX_PER_SAMPLE:
        return None
    return Page(
        stamp=whole + int(time[2]) / 1000,
        rate=rate,
        celsius=number(fields.get(b"Temperature", b"")),
        serial=fields.get(b"Device Unique Serial Code", b"").strip(b" \0"),
        sequence=int(sequence) if sequence.isdigit() and len(sequence) < 10 else -1,
        samples=samples,
    )


def number(text: bytes) -> float:
    """With a point or a comma; NaN if it is none."""
    found = _NUMBER.fullmatch(text.strip(b" \0\r\n"))
    return float(found[0].replace(b",", b".")) if found else float("nan")


class _Walk:
    """The sound pages of a file, (number, offset, bytes, page) each; the others are counted."""

    def __init__(self, file: IO[bytes]) -> None:
        self.damaged = 0
        self.truncated = False
        self._file = file

    def __iter__(self) -> Iterator[tuple[int, int, bytes, Page]]:
        page: list[bytes] = []
        filled = number = 0
        at = start = self._file.tell()
        astray = False
        while line := self._file.readline(LONGEST_LINE):
            at += len(line)
            if line.startswith(PAGE_START):
                self.damaged += bool(page)
                page, filled, start = [line], 1, at - len(line)
                continue
            if not page:
                # Lines of no page: the line that began it is damaged. They count once. A file copied to the end of
                # another brings its header, which is no damage.
                if line.startswith(HEADER_START):
                    astray = True
                elif line.strip():
                    self.damaged += not astray
                    astray = True
                continue
            page.append(line)
            filled += bool(line.strip())
            if filled == PAGE_LINES:
                if not line.endswith(b"\n") and len(line) < FULL_LINE:
                    break  # the last line of the file, cut off
                raw = b"".join(page)
                sound = parsed(raw)
                if sound is not None:
                    yield number, start, raw, sound
                # Of a damaged page, more lines may follow: it has been counted.
                astray = sound is None
                self.damaged += astray
                number += 1
                page = []
        self.truncated = bool(page)
