"""Selects the pages of a GENEActiv file that are intact and from the header's device, in order of time.

Layout: GENEActiv Operating Instructions, "Decoding .bin files" (Activinsights). A page has ten lines: "Recorded Data",
eight lines of `key:value`, and 300 samples in hexadecimal. Pages have no checksum.
"""

import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Sequence
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
"""Six bytes per sample: 12 bits per axis, 10 bits of light, one for the button, one unused."""
FULL_LINE = 300 * HEX_PER_SAMPLE
LONGEST_LINE = 1 << 13
"""Twice the length of a line of samples: a file without line ends must not be read as a single line."""

_TIME = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)[:.,](\d{3})")
_NUMBER = re.compile(rb"-?\d{1,9}(?:[.,]\d{1,9})?")
"""Accepts a decimal point or comma: the program that writes the file uses the computer's locale."""


class Page(NamedTuple):
    """Contents of an intact page."""

    stamp: float
    """Time of its first sample, in seconds since 1970."""
    rate: float
    """Samples per second."""
    celsius: float
    """Temperature; NaN if it is not a number."""
    serial: bytes
    """Serial number of the device; empty if not stated."""
    sequence: int
    """Sequence number of the page; -1 if not stated."""
    samples: bytes
    """Samples in hexadecimal, 12 digits each."""
    foreign: bool = False
    """Whether the last header before it is another one than the file's."""


@dataclass(frozen=True)
class Pages:
    """Positions of the pages to read, in order."""

    offsets: NDArray[np.int64]
    """(n,) offset of each page in the file, in bytes."""
    sizes: NDArray[np.int64]
    """(n,) size of each page in bytes."""
    rate: float
    """Samples per second, which every page states: the header does too, but nothing confirms it."""


def choose_pages(file: IO[bytes], serial: bytes, lost: int, tally: Tally) -> Pages:
    """Check every page from the file's position on, and choose those of one device, each once, in order of time.

    Args:
        file: The file, positioned at its first page.
        serial: Serial number of the device according to the header; empty if it states none.
        lost: Number of damaged pages before that position.
        tally: Counts the pages that are left out.

    Raises:
        HarnetError: no page is usable, or the clock was reset.
    """
    walk = _Walk(file)
    facts = [
        # The samples are not kept: a week has 200,000 pages of 3,600 bytes each.
        (number, offset, len(raw), xxhash.xxh3_64_intdigest(raw.strip()), page._replace(samples=b""), len(page.samples))
        for number, offset, raw, page in walk
    ]
    damaged = walk.damaged + lost
    if not facts:
        raise HarnetError(f"{tally.named}: no intact page among {damaged}: copy the file again")
    pages = [each[4] for each in facts]
    own = _of_recording(pages, serial, tally)
    # A recording has a single rate: a page with another one has a corrupted digit.
    rates = np.array([page.rate for page in pages])
    rate = float(Counter(rates[own].tolist()).most_common(1)[0][0])
    usable = own & (rates == rate)
    # Only the last page may hold fewer samples; elsewhere some were lost, and what follows them may be of another page.
    stamps = np.array([page.stamp for page in pages])
    usable &= (np.array([each[5] for each in facts]) == FULL_LINE) | (stamps == stamps[own].max())
    damaged += int((own & ~usable).sum())
    tally.add("damaged blocks", damaged, f"pages, of {damaged + int(usable.sum())}")
    tally.add("cut end", int(walk.truncated), "within a page")
    chosen = np.flatnonzero(usable)
    ordered = in_order(
        Pieces(
            "pages",
            stamps=stamps[chosen],
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
        rate=rate,
    )


def _of_recording(pages: Sequence[Page], serial: bytes, tally: Tally) -> NDArray[np.bool_]:
    """(n,) whether each page is of the header's device and recording; the others are counted."""
    number_alone = serial.lstrip(b"0")
    own = np.array([not (page.serial and serial) or page.serial.lstrip(b"0") == number_alone for page in pages])
    tally.add("other sessions", int((~own).sum()), f"pages of another device, of {len(own)}")
    if not own.any():
        other = Counter(page.serial for page in pages).most_common(1)[0][0]
        raise HarnetError(
            f"{tally.named}: the header is of device {serial.decode('ascii', 'replace')}, the pages are of "
            f"{other.decode('ascii', 'replace')}, which has its own calibration: exclude it"
        )
    foreign = own & np.array([page.foreign for page in pages])
    if not (own & ~foreign).any():
        raise HarnetError(f"{tally.named}: all intact pages follow another header: split the file there")
    tally.add("other sessions", int(foreign.sum()), f"pages after another recording's header, of {len(own)}")
    return own & ~foreign


def read_pages(file: IO[bytes], pages: Pages, most: int) -> Iterator[list[Page]]:
    """The chosen pages in order, at most `most` at a time."""
    for start in range(0, len(pages.offsets), most):
        some = []
        for offset, size in zip(pages.offsets[start : start + most], pages.sizes[start : start + most], strict=True):
            file.seek(int(offset))
            page = parsed(file.read(int(size)))
            assert page is not None  # it was intact on the first pass
            some.append(page)
        yield some


def parsed(raw: bytes) -> Page | None:
    """Contents of a page; None unless it states its time and sampling rate, and holds complete samples."""
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
    """The number in a text, with a decimal point or comma; NaN if it is not a number."""
    found = _NUMBER.fullmatch(text.strip(b" \0\r\n"))
    return float(found[0].replace(b",", b".")) if found else float("nan")


def _plain(header: bytes) -> bytes:
    """A header without byte order mark and line ends, which may differ where files were joined."""
    return b"\n".join(header.removeprefix(BOM_UTF8).split())


class _Walk:
    """The intact pages of a file, each as (number, offset, bytes, page); the others are counted."""

    def __init__(self, file: IO[bytes]) -> None:
        self.damaged = 0
        self.truncated = False
        self._file = file
        size = file.tell()
        file.seek(0)
        self._header = _plain(file.read(size))

    def __iter__(self) -> Iterator[tuple[int, int, bytes, Page]]:
        page: list[bytes] = []
        heading = b""
        foreign = False
        filled = number = 0
        at = start = self._file.tell()
        astray = False
        while line := self._file.readline(LONGEST_LINE):
            at += len(line)
            begin = line.find(PAGE_START)
            if begin >= 0:
                # Within a line if the end of the previous page was lost.
                self.damaged += bool(page)
                foreign = _plain(heading) != self._header if heading else foreign
                heading = b""
                page, filled, start = [line[begin:]], 1, at - len(line) + begin
                continue
            if not page:
                # Lines outside a page: the first line of their page is damaged, and they count as one page. If another
                # file was appended, its header is here; that is not damage.
                if line.startswith(HEADER_START):
                    astray, heading = True, line
                elif heading:
                    heading += line[: max(len(self._header) + LONGEST_LINE - len(heading), 0)]
                elif line.strip():
                    self.damaged += not astray
                    astray = True
                continue
            page.append(line)
            filled += bool(line.strip())
            if filled == PAGE_LINES:
                if not line.endswith(b"\n") and len(line) < FULL_LINE:
                    break  # the last line of the file, truncated
                raw = b"".join(page)
                intact = parsed(raw)
                if intact is not None:
                    yield number, start, raw, intact._replace(foreign=foreign)
                # More lines of a damaged page may follow; it has already been counted.
                astray = intact is None
                self.damaged += astray
                number += 1
                page = []
        self.truncated = bool(page)
