"""Parmay Tech Matrix (.BIN): a header with the range, then packets of varying length, each with its CRC-32.

Layout: documentation of `readParmayMatrix` in the R package GGIRread (Apache-2.0). All little-endian. Header: 512 bytes
of remarks, "MDTC", number of packets (4 bytes), range of the accelerometer in g (2) and of the gyroscope (2). Packet:
"MDTCPACK", CRC-32 of what follows it (4), UNIX times of start and end (4 each), numbers of accelerometer, gyroscope,
temperature and heart-rate readings (4 each); then these readings, 6, 6, 4 and 4 bytes each. A reading of temperature is
two numbers in tenths of a degree Celsius, of the body's surface and of the air. No library on PyPI reads it.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.protocol import Found, Reader, ReadOptions
from data_shards.readers.samples import Thermometer, forward
from data_shards.recording import Piece, Recording
from harnet.errors import HarnetError

REMARKS_BYTES = 512
HEADER_START = b"MDTC"
PACKET_START = b"MDTCPACK"
_HEADER = struct.Struct("<4sIHH")
_PACKET = struct.Struct("<IIIIIII")
"""CRC, start, end, counts of accelerometer, gyroscope, temperature, heart rate."""
_CRC_BYTES = 4
MOST_READINGS = 1_000_000
"""Of one kind in a packet; the device writes 12,000. More is damage."""
FULL_SCALE = 32_768
RANGES_G = (2, 4, 8, 16)


class Matrix(Reader):
    """Sound packets only: damaged ones are left out and show as a jump in time."""

    kind = "Parmay Matrix .BIN"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the tag after the remarks, or by the first packet where the header is damaged."""
        packet = head[REMARKS_BYTES + _HEADER.size :].startswith(PACKET_START)
        return head[REMARKS_BYTES : REMARKS_BYTES + 4] == HEADER_START or packet

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` if the header or all packets are damaged."""
        with path.open("rb") as file:
            file.seek(REMARKS_BYTES)
            tag, announced, range_g, _ = _HEADER.unpack(file.read(_HEADER.size).ljust(_HEADER.size, b"\0"))
            if tag != HEADER_START or range_g not in RANGES_G:
                raise HarnetError(f"{path}: the header (bytes 513 to 524) is damaged: copy the file again")
            start = file.tell()
            packets, readings, seconds = _totals(file)
            if not readings or not seconds:
                raise HarnetError(f"{path}: no sound packet of acceleration among {announced}: copy the file again")
            file.seek(start)
            tally, thermometer = Tally(path), Thermometer()
            tally.add("damaged blocks", max(announced - packets, 0), f"packets, of {announced}")
            recording = Recording(
                pieces=forward(_pieces(file, range_g, thermometer), tally),
                nominal_rate=round(readings / seconds, 1),
                device="Parmay Matrix",
                clock="utc",
                range_g=float(range_g),
                temperature=thermometer.temperature,
                notes=tally.notes,
            )
            yield Found(recording, label=path.stem)


def _totals(file: IO[bytes]) -> tuple[int, int, int]:
    """Sound packets, their readings of acceleration, and their seconds: the header does not give the rate."""
    packets = readings = seconds = 0
    for body in _sound_packets(file):
        first, last, count = struct.unpack_from("<III", body)
        packets, readings, seconds = packets + 1, readings + count, seconds + last - first
    return packets, readings, seconds


def _pieces(file: IO[bytes], range_g: int, thermometer: Thermometer) -> Iterator[Piece]:
    for body in _sound_packets(file):
        first, last, count, gyroscope, warm, _ = struct.unpack_from("<IIIIII", body)
        tenths = np.frombuffer(body, "<i2", 2 * warm, 24 + 6 * (count + gyroscope)).reshape(-1, 2)
        thermometer.add(_spread(first, last, warm), (tenths[:, 0] / 10).astype(np.float32))
        signal = np.frombuffer(body, "<i2", 3 * count, 24).reshape(-1, 3)
        yield Piece(_spread(first, last, count), (signal * np.float32(range_g / FULL_SCALE)).astype(np.float32))


def _spread(first: int, last: int, count: int) -> NDArray[np.float64]:
    """Times of `count` readings spread evenly over [first, last), as the maker does; whole seconds are all it gives."""
    return first + np.arange(count, dtype=np.float64) * ((last - first) / max(count, 1))


def _sound_packets(file: IO[bytes]) -> Iterator[bytes]:
    """Everything after the CRC of every packet that agrees with it; after damage, the next packet is searched for."""
    position = file.tell()
    while (position := _find(file, position)) >= 0:
        file.seek(position + len(PACKET_START))
        head = file.read(_PACKET.size)
        if len(head) < _PACKET.size:
            return
        crc, first, last, *counts = _PACKET.unpack(head)
        position += len(PACKET_START)
        if max(counts) > MOST_READINGS or last < first:
            continue
        size = 6 * (counts[0] + counts[1]) + 4 * (counts[2] + counts[3])
        body = head[_CRC_BYTES:] + file.read(size)
        if zlib.crc32(body) == crc:
            position += _CRC_BYTES + len(body)
            yield body


def _find(file: IO[bytes], position: int) -> int:
    """Where the next packet begins, from `position` on; -1 if there is none."""
    overlap = len(PACKET_START) - 1
    while True:
        file.seek(position)
        piece = file.read(1 << 20)
        found = piece.find(PACKET_START)
        if found >= 0 or len(piece) <= overlap:
            return position + found if found >= 0 else -1
        position += len(piece) - overlap
