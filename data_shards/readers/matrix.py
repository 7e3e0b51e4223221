"""Parmay Tech Matrix (.BIN): a header with the range, then packets of varying length, each with a CRC-32.

Layout: documentation of `readParmayMatrix` in the R package GGIRread (Apache-2.0). All little-endian. Header: 512 bytes
of remarks, "MDTC", number of packets (4 bytes), range of the accelerometer in g (2) and of the gyroscope (2). Packet:
"MDTCPACK", CRC-32 of everything after it (4), UNIX times of start and end (4 each), numbers of accelerometer,
gyroscope, temperature and heart-rate readings (4 each); then these readings, 6, 6, 4 and 4 bytes each. A temperature
reading is two numbers in tenths of a degree Celsius, for the body surface and the air. No library on PyPI reads it.
"""

import mmap
import statistics
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.device_reader import DeviceReader, Found, ReadOptions
from data_shards.readers.oddities import Tally
from data_shards.readers.order import Pieces, in_order
from data_shards.readers.samples import Thermometer, forward
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

REMARKS_BYTES = 512
HEADER_START = b"MDTC"
PACKET_START = b"MDTCPACK"
_HEADER = struct.Struct("<4sIHH")
_HEAD = struct.Struct("<IIIIIII")
"""CRC, start, end, and the numbers of accelerometer, gyroscope, temperature and heart-rate readings."""
_CRC_BYTES = 4
MOST_READINGS = 200_000
"""Maximum number of readings of one kind in a packet; the device writes 12,000. More means damage."""
UNKNOWN = 0xFFFFFFFF
FULL_SCALE = 32_768
RANGES_G = (2, 4, 8, 16)
MOST_SLIP = 0.1
"""Tolerated error of a packet's duration, as a share of it and on top of rounding to seconds; beyond it, a timestamp
is wrong."""


class _Packet(NamedTuple):
    number: int
    """Index of the packet in the file."""
    crc: int
    first: int
    """Start in UNIX seconds."""
    last: int
    """End in UNIX seconds."""
    readings: int
    """Number of accelerometer readings."""
    start: int
    """Offset in the file of the first byte after the CRC."""
    size: int
    """Number of bytes after the CRC."""


class Matrix(DeviceReader):
    """Reader of Parmay Matrix .BIN. Damaged packets are dropped and become gaps in time."""

    kind = "Parmay Matrix .BIN"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the tag after the remarks, or by the first packet if the header is damaged."""
        packet = head[REMARKS_BYTES + _HEADER.size :].startswith(PACKET_START)
        return head[REMARKS_BYTES : REMARKS_BYTES + 4] == HEADER_START or packet

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` if the header or all packets are damaged."""
        with path.open("rb") as file:
            file.seek(REMARKS_BYTES)
            tag, announced, range_g, _ = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
            if tag != HEADER_START or range_g not in RANGES_G:
                raise HarnetError(f"{path}: the header (bytes 513 to 524) is damaged: copy the file again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                tally = Tally(path)
                thermometer = Thermometer(tally)
                packets = _choose(content, announced, tally)
                recording = Recording(
                    pieces=forward(_pieces(content, packets, range_g, thermometer), tally, _rate(packets)),
                    nominal_rate=_rate(packets),
                    device="Parmay Matrix",
                    clock="utc",
                    range_g=float(range_g),
                    temperature=thermometer.temperature,
                    notes=tally.notes,
                )
                yield Found(recording, label=path.stem)


def _choose(content: mmap.mmap, announced: int, tally: Tally) -> list[_Packet]:
    """The intact packets with readings, each once, in order of time.

    Raises:
        HarnetError: there are none, or the clock was reset.
    """
    intact = list(_intact_packets(content, tally))
    packets = [packet for packet in intact if packet.readings and packet.last > packet.first]
    if not packets:
        raise HarnetError(f"{tally.named}: no intact acceleration packet among {announced}: copy the file again")
    rate = _rate(packets)
    if not rate:
        raise HarnetError(f"{tally.named}: the packets hold less than a sample in ten seconds: copy the file again")
    # Start and end of a packet are rounded to whole seconds.
    lasts = np.array([packet.last - packet.first - packet.readings / rate for packet in packets])
    likely = np.abs(lasts) <= 2 + MOST_SLIP * np.array([packet.readings / rate for packet in packets])
    packets = [packet for packet, each in zip(packets, likely.tolist(), strict=True) if each]
    if not packets:
        raise HarnetError(f"{tally.named}: no two packets have the same sampling rate: copy the file again")
    keep = in_order(
        Pieces(
            "packets",
            stamps=np.array([packet.first for packet in packets], np.float64),
            identities=np.array([packet.first << 32 | packet.crc for packet in packets], np.uint64),
            places=np.array([packet.number for packet in packets], np.int64),
        ),
        tally,
    )
    unusable = sum(packet.readings > 0 and packet.last <= packet.first for packet in intact) + int((~likely).sum())
    # A header that was never completed announces 0 or 2^32 - 1; one of a copy may count repeated packets too.
    missing = announced - len(intact) + (tally.count("repeated blocks") if announced < len(intact) else 0)
    missing = 0 if announced == UNKNOWN else max(missing - tally.count("cut end"), 0)
    tally.add("damaged blocks", missing + unusable, f"packets, of {max(announced % UNKNOWN, len(intact))}")
    return [packet for packet, each in zip(packets, keep.tolist(), strict=True) if each]


def _rate(packets: list[_Packet]) -> float:
    """Sampling rate in Hz, which the header does not state: the rate of typical packets, averaged over these."""
    rates = [packet.readings / (packet.last - packet.first) for packet in packets]
    # Not the mean of the middle two, near which there may be no packet.
    usual = statistics.median_low(rates)
    near = [packet for packet, rate in zip(packets, rates, strict=True) if abs(rate / usual - 1) <= 0.5]
    seconds = sum(packet.last - packet.first for packet in near)
    return round(sum(packet.readings for packet in near) / seconds, 1)


def _pieces(
    content: mmap.mmap, packets: list[_Packet], range_g: int, thermometer: Thermometer
) -> Iterator[SampleChunk]:
    for packet in packets:
        body = content[packet.start : packet.start + packet.size]
        first, last, count, gyroscope, warm, _ = struct.unpack_from("<IIIIII", body)
        tenths = np.frombuffer(body, "<i2", 2 * warm, 24 + 6 * (count + gyroscope)).reshape(-1, 2)
        thermometer.add(_spread(first, last, warm), (tenths[:, 0] / 10).astype(np.float32))
        signal = np.frombuffer(body, "<i2", 3 * count, 24).reshape(-1, 3)
        yield SampleChunk(_spread(first, last, count), (signal * np.float32(range_g / FULL_SCALE)).astype(np.float32))


def _spread(first: int, last: int, count: int) -> NDArray[np.float64]:
    """Times of `count` readings, evenly spaced over [first, last) in whole seconds, as the manufacturer does."""
    return first + np.arange(count, dtype=np.float64) * ((last - first) / max(count, 1))


def _intact_packets(content: mmap.mmap, tally: Tally) -> Iterator[_Packet]:
    """Every packet whose CRC matches; after damage, the next one is searched for. Counts the one cut off at the end.

    Raises:
        HarnetError: a packet follows the header of another recording.
    """
    number = 0
    position = content.find(PACKET_START, REMARKS_BYTES + _HEADER.size)
    while position >= 0:
        header = content[position - REMARKS_BYTES - _HEADER.size : position]
        if header[REMARKS_BYTES:].startswith(HEADER_START) and header != content[: len(header)]:
            raise HarnetError(
                f"{tally.named}: at byte {position - len(header) + 1:,} is the header of another recording, which may "
                "be of another wearer or range: split the file there"
            )
        start = position + len(PACKET_START) + _CRC_BYTES
        head = content[position + len(PACKET_START) : position + len(PACKET_START) + _HEAD.size]
        if len(head) < _HEAD.size:
            tally.add("cut end", 1, "within a packet")
            return
        crc, first, last, *counts = _HEAD.unpack(head)
        size = _HEAD.size - _CRC_BYTES + 6 * (counts[0] + counts[1]) + 4 * (counts[2] + counts[3])
        whole = max(counts) <= MOST_READINGS and last >= first and start + size <= len(content)
        if whole and zlib.crc32(content[start : start + size]) == crc:
            yield _Packet(number, crc, first, last, counts[0], start, size)
            position = start + size
        else:
            position += len(PACKET_START)
        number += 1
        position = content.find(PACKET_START, position)
        if position < 0 and max(counts) <= MOST_READINGS and start + size > len(content):
            tally.add("cut end", 1, "within a packet")
