"""The log of an ActiGraph: selects the intact acceleration records, each once, in order of time.

A record begins with a separator, a type, a UNIX time and a size, and ends with a one-byte checksum (ActiGraph's
documentation, LogRecords). An acceleration record holds one second of samples.
"""

import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import IO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.order import Pieces, in_order
from harnet.errors import HarnetError

SEPARATOR = 0x1E
HEAD_SIZE = 8
"""Separator, type, timestamp (4 bytes), size (2 bytes); the payload and a one-byte checksum follow."""
PACKED, PLAIN = 0, 26
"""Record types ACTIVITY (12 bits, y x z) and ACTIVITY2 (16 bits, x y z): a second of samples each."""
MOST_SAMPLES = 1.5
"""Maximum number of samples in a second, as a multiple of the rate; devices write one or two more than the rate."""
PIECE_BYTES = 1 << 16
"""Bytes decompressed at a time; where the archive is damaged, the piece with the damage is lost."""
MOST_SECONDS = 200 * 86_400
"""A second takes some 75 bytes of memory, so a file that is made to exhaust it gets about 1.3 GB."""
BYTES_AT_A_TIME = 3 << 20
"""Payload bytes that are decoded together: 5,000 seconds at 100 Hz."""


class Record(NamedTuple):
    """An intact record."""

    kind: int
    """Type of the record."""
    time: int
    """UNIX seconds on the device's clock."""
    start: int
    """Offset of its payload in the log, in bytes."""
    payload: bytes
    """Contents of the record."""


@dataclass(frozen=True)
class Seconds:
    """The acceleration records to read, in order."""

    kinds: NDArray[np.int64]
    """(n,) PACKED or PLAIN."""
    times: NDArray[np.float64]
    """(n,) seconds since 1970."""
    starts: NDArray[np.int64]
    """(n,) offset of the payload in the log, in bytes."""
    sizes: NDArray[np.int64]
    """(n,) size of the payload in bytes."""


def choose_seconds(file: IO[bytes], rate: float, tally: Tally) -> Seconds:
    """Check every record of a log, and choose the acceleration records, each once, in order of time.

    Args:
        file: The log, positioned at its start.
        rate: Samples per second according to info.txt; a record of many more is damaged.
        tally: Counts the records that are left out.

    Raises:
        HarnetError: the clock was reset, or most seconds are of another rate.
    """
    content = InflatedMember(file)
    records = _Records(content)
    # Typed arrays: a list of tuples would take 250 bytes per second of recording.
    kinds, times, starts, sizes, digests = (array(code) for code in "BIqHI")
    held: Counter[int] = Counter()
    for record in records:
        # A one-byte payload marks the moment of plugging in (Activity2.md).
        if record.kind not in (PACKED, PLAIN) or len(record.payload) <= 1:
            continue
        held[_samples_in(record.kind, len(record.payload))] += 1
        if len(record.payload) > 6 * (MOST_SAMPLES * rate + 1):
            records.damaged += 1
            continue
        if len(times) == MOST_SECONDS:
            raise HarnetError(f"{tally.named}: more than {MOST_SECONDS:,} seconds in the log: exclude it")
        kinds.append(record.kind)
        times.append(record.time)
        starts.append(record.start)
        sizes.append(len(record.payload))
        digests.append(zlib.crc32(record.payload))
    _refuse_other_rate(held, rate, tally.named)
    tally.add("damaged blocks", records.damaged, "places in the log")
    content.count_in(tally, "log.bin")
    tally.add("cut end", int(records.cut and not content.trouble), "within a record of the log")
    stamps = np.array(times, np.int64)
    identities = stamps << 32 | np.array(digests, np.int64)
    keep = in_order(Pieces("records", stamps.astype(np.float64), identities, np.arange(len(stamps))), tally)
    return Seconds(
        np.array(kinds, np.int64)[keep],
        stamps[keep].astype(np.float64),
        np.array(starts, np.int64)[keep],
        np.array(sizes, np.int64)[keep],
    )


def _samples_in(kind: int, size: int) -> int:
    """Number of samples in a payload of `size` bytes."""
    return size * 2 // 9 if kind == PACKED else size // 6


def _refuse_other_rate(held: Counter[int], rate: float, named: object) -> None:
    """Raise `HarnetError` if most seconds hold a number of samples that is not the rate in info.txt."""
    usual, count = held.most_common(1)[0] if held else (0, 0)
    if 2 * count > held.total() and not rate / MOST_SAMPLES <= usual <= MOST_SAMPLES * rate + 1:
        raise HarnetError(
            f"{named}: info.txt gives {rate:g} Hz as 'Sample Rate', but {count:,} of {held.total():,} seconds in the "
            f"log hold {usual} samples: export the file again"
        )


def read_seconds(file: IO[bytes], seconds: Seconds) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.uint8]]]:
    """The chosen records, in runs of equal type and size: type, times (n,) and payloads (n, bytes)."""
    content = InflatedMember(file)
    data, begin, index = b"", 0, 0
    alike = zip(seconds.kinds.tolist(), seconds.sizes.tolist(), strict=True)
    for (kind, size), run in groupby(alike):
        left = len(list(run))
        while left:
            some = min(left, max(1, BYTES_AT_A_TIME // size))
            payloads = []
            for start in seconds.starts[index : index + some].tolist():
                while start + size > begin + len(data):
                    piece = content.read()
                    assert piece  # it was there on the first pass
                    data, begin = data[max(start - begin, 0) :] + piece, max(begin, min(start, begin + len(data)))
                payloads.append(data[start - begin : start - begin + size])
            joined = np.frombuffer(b"".join(payloads), np.uint8).reshape(some, size)
            yield kind, seconds.times[index : index + some], joined
            index, left = index + some, left - some


class InflatedMember:
    """A member of the archive in pieces, up to the first byte that cannot be decompressed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.trouble = ""

    def read(self) -> bytes:
        """Up to PIECE_BYTES bytes; empty at the end, or where the archive is damaged."""
        if self.trouble:
            return b""
        try:
            return self._file.read(PIECE_BYTES)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            self.trouble = str(error) or "cut off"
            return b""

    def count_in(self, tally: Tally, name: str) -> None:
        """Count the damage, with its position in the member."""
        tally.add("cut end", int(bool(self.trouble)), f"{name} cannot be unpacked from there on: {self.trouble}")


class _Records:
    """The intact records of a log, one piece of the log at a time."""

    def __init__(self, content: InflatedMember) -> None:
        self.damaged = 0
        """Number of damaged places."""
        self.cut = False
        """Whether the log ends within a record."""
        self._done = 0
        self._counted = 0
        self._content = content

    def __iter__(self) -> Iterator[Record]:
        rest = b""
        while piece := self._content.read():
            data = rest + piece
            used = yield from self._intact(data, last=False)
            self._done += used
            rest = data[used:]
        yield from self._intact(rest, last=True)

    def _intact(self, data: bytes, last: bool) -> Generator[Record, None, int]:
        """Yield the records in `data`; returns the bytes consumed. A record cut off at the end waits for more."""
        numbers = np.frombuffer(data, np.uint8)
        position = 0
        while (start := data.find(SEPARATOR, position)) >= 0:
            # Zero bytes between records are not damage (ActiGraph's documentation).
            if any(data[position:start]):
                self._count_place(position, start)
            stop = start + HEAD_SIZE + int.from_bytes(data[start + 6 : start + HEAD_SIZE], "little") + 1
            if stop > len(data) and not last:
                return start
            # The checksum is the one's complement of the XOR of all other bytes, so the XOR of all bytes is all ones.
            if stop > len(data) or np.bitwise_xor.reduce(numbers[start:stop]) != 0xFF:
                position = start + 1
                self._count_place(start, stop, cut=stop > len(data))
                continue
            self.damaged += self.cut  # it was not the end
            self._counted, self.cut = 0, False
            time = int.from_bytes(data[start + 2 : start + 6], "little")
            first = start + HEAD_SIZE
            yield Record(data[start + 1], time, self._done + first, data[first : stop - 1])
            position = stop
        if any(data[position:]):
            self._count_place(position, len(data))
        return len(data)

    def _count_place(self, start: int, stop: int, cut: bool = False) -> None:
        """Count what is not a record, once: its bytes may look like the beginnings of others."""
        if self._done + start >= self._counted:
            self.damaged += not cut
            self.cut |= cut
            self._counted = self._done + stop


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Unpack big-endian 12-bit numbers: (rows, bytes) in the order y x z → (rows, 3 · samples) in the order x y z."""
    samples = packed.shape[1] * 2 // 9
    padded = np.pad(packed, ((0, 0), (0, -packed.shape[1] % 3))).astype(np.int16)
    first, second, third = (padded[:, index::3] for index in range(3))
    pairs = np.stack([first << 4 | second >> 4, (second & 0xF) << 8 | third], axis=-1)
    values = pairs.reshape(len(packed), -1)[:, : 3 * samples]
    signed = (values ^ 0x800) - 0x800
    return signed.reshape(len(packed), samples, 3)[:, :, [1, 0, 2]].reshape(len(packed), -1)
