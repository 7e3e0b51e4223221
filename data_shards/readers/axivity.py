"""Axivity AX3 and AX6 (.cwa).

Layout of the file: `cwa.h` in the Open Movement project: a header of 1,024 bytes that begins with "MD", then data
blocks of 512 bytes that begin with "AX". The 16-bit little-endian words of a sound block sum to 0 modulo 65,536.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cwa_reader_rs
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.protocol import Found, Reader, ReadOptions, speaking_of
from data_shards.readers.samples import Samples, temperature_of
from data_shards.recording import Recording
from harnet.errors import HarnetError

HEADER_BYTES = 1024
BLOCK_BYTES = 512
HEADER_START = b"MD\xfc\x03"
"""Tag and length (1,020) of the header."""
BLOCK_START = b"AX\xfc\x01"
"""Tag and length (508) of a data block."""
FORMATS = (0x30, 0x32, 0x62, 0x92)
"""Axes and packing (`numAxesBPS`) that cwa.h defines."""

BLOCKS_AT_A_TIME = 2048
"""A quarter of a million samples: a week at 100 Hz is decoded in hardly more memory than it fills in the end."""

PUBLIC_METADATA = ("device_id", "session_id", "gyro_range", "firmware_revision")
"""Kept from the header. Its free-text annotation may hold a name, so it is never copied."""


@dataclass(frozen=True)
class Blocks:
    """What the data blocks say of themselves."""

    sound: NDArray[np.bool_]
    """(blocks,) whether the block can be decoded."""
    written: int
    """Blocks that the device wrote: the others are memory of one repeated byte (0x00 or 0xFF)."""
    counts: NDArray[np.int64]
    """(sound blocks,) samples in each."""
    thermometer: NDArray[np.uint16]
    """(sound blocks,) raw reading, 10 bits; 0 where there is none."""
    rate_code: int
    """Rate and range as most sound blocks give them: the header gives them too, but has no checksum."""

    @property
    def rate(self) -> float:
        """Samples per second (cwa.h, `sampleRate`)."""
        return 3200 / (1 << 15 - (self.rate_code & 0x0F))

    @property
    def range_g(self) -> float:
        """Full scale in g (cwa.h, `sampleRate`)."""
        return float(16 >> (self.rate_code >> 6))


class Axivity(Reader):
    """Sound data blocks only: damaged ones are left out and show as a jump in time."""

    kind = "Axivity .cwa (AX3, AX6)"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the header's tag, or by the first data block where the header is damaged."""
        return head.startswith(HEADER_START) or head[HEADER_BYTES : HEADER_BYTES + 4] == BLOCK_START

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` if the header or all blocks are damaged."""
        with path.open("rb") as file:
            if not file.read(HEADER_BYTES).startswith(HEADER_START):
                raise HarnetError(f"{path}: the header (first 1,024 bytes) is damaged: copy the file again")
        blocks = check_blocks(path)
        if not blocks.sound.any():
            raise HarnetError(f"{path}: no sound data block among {blocks.written} written: copy the file again")
        whole = path.stat().st_size == HEADER_BYTES + BLOCK_BYTES * len(blocks.sound)
        damaged = blocks.written - int(blocks.sound.sum())
        tally = Tally(path)
        tally.add("damaged blocks", damaged, f"of {blocks.written}")
        tally.add("cut end", int(not whole), "within a data block")
        if whole and blocks.sound.all():
            yield Found(_decode(path, blocks, tally), label=path.stem)
            return
        with tempfile.TemporaryDirectory(prefix="harnet-") as folder:
            cleaned = Path(folder) / "sound.cwa"
            _copy_blocks(path, cleaned, blocks.sound)
            with speaking_of(path, cleaned):
                recording = _decode(cleaned, blocks, tally)
        yield Found(recording, label=path.stem)


def check_blocks(path: Path) -> Blocks:
    """Read the checksum and the head of every data block."""
    sound: list[NDArray[np.bool_]] = []
    counts: list[NDArray[np.int64]] = []
    thermometer: list[NDArray[np.uint16]] = []
    codes = np.zeros(256, np.int64)
    written = 0
    for blocks in _blocks(path):
        words = blocks.view("<u2")
        starts = (blocks[:, :4] == np.frombuffer(BLOCK_START, np.uint8)).all(axis=1)
        sums = words.sum(axis=1, dtype=np.uint32) & 0xFFFF
        # The library gives up on the whole file at one block without a time, or of a format that it does not know.
        usable = np.isin(blocks[:, 25], FORMATS) & (blocks[:, 24] != 0) & _has_time(words[:, 7:9])
        sound.append(starts & (sums == 0) & usable)
        others = blocks[~sound[-1]]
        blank = (others == others[:, :1]).all(axis=1) & np.isin(others[:, 0], (0x00, 0xFF))
        written += len(blocks) - int(blank.sum())
        counts.append(words[sound[-1], 14].astype(np.int64))
        thermometer.append(words[sound[-1], 10] & 0x3FF)
        codes += np.bincount(blocks[sound[-1], 24], minlength=256)
    if not sound:
        return Blocks(np.zeros(0, bool), 0, np.zeros(0, np.int64), np.zeros(0, np.uint16), 0)
    joined = np.concatenate(sound), written, np.concatenate(counts), np.concatenate(thermometer)
    return Blocks(*joined, rate_code=int(codes.argmax()))


def _has_time(halves: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Whether `cwa_timestamp_t`, (blocks, 2) words, is a date: YYYYYYMM MMDDDDDh hhhhmmmm mmssssss."""
    stamp = halves[:, 0].astype(np.uint32) | halves[:, 1].astype(np.uint32) << 16
    month, day, hour = stamp >> 22 & 0xF, stamp >> 17 & 0x1F, stamp >> 12 & 0x1F
    clock = (hour < 24) & ((stamp >> 6 & 0x3F) < 60) & ((stamp & 0x3F) < 60)
    return clock & (month >= 1) & (month <= 12) & (day >= 1)


def celsius(thermometer: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Degrees from the 10-bit reading of the MCP9700: 3/1024 V a unit, 0.5 V at 0 °C, 10 mV/°C (cwa.h)."""
    return (thermometer * np.float32(75 / 256) - 50).astype(np.float32)


def _blocks(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Whole data blocks, (up to BLOCKS_AT_A_TIME, 512) bytes; a part of a block at the end is left out."""
    with path.open("rb") as file:
        file.seek(HEADER_BYTES)
        while len(data := file.read(BLOCKS_AT_A_TIME * BLOCK_BYTES)) >= BLOCK_BYTES:
            usable = len(data) // BLOCK_BYTES * BLOCK_BYTES
            yield np.frombuffer(data, np.uint8, count=usable).reshape(-1, BLOCK_BYTES)


def _copy_blocks(path: Path, cleaned: Path, keep: NDArray[np.bool_]) -> None:
    with path.open("rb") as source, cleaned.open("wb") as target:
        target.write(source.read(HEADER_BYTES))
        done = 0
        for blocks in _blocks(path):
            target.write(blocks[keep[done : done + len(blocks)]].tobytes())
            done += len(blocks)


def _decode(path: Path, blocks: Blocks, tally: Tally) -> Recording:
    """Decode a file whose blocks are all sound; `blocks` tells what is in them."""
    samples = Samples(int(blocks.counts.sum()), tally)
    heated = np.flatnonzero((blocks.counts > 0) & (blocks.thermometer > 0))
    block_times = np.full(len(blocks.counts), np.nan)
    try:
        header = cwa_reader_rs.read_metadata(str(path))
        for start in range(0, len(blocks.counts), BLOCKS_AT_A_TIME):
            counts = blocks.counts[start : start + BLOCKS_AT_A_TIME]
            if not counts.any():
                continue
            times, acceleration = _piece(path, start, start + len(counts))
            if len(times) != counts.sum():
                raise HarnetError(f"{path}: {len(times)} samples where {counts.sum()} are announced: copy it again")
            first = np.cumsum(counts) - counts
            block_times[start : start + len(counts)][counts > 0] = times[first[counts > 0]]
            samples.append(times, acceleration)
    except HarnetError:
        raise
    except (RuntimeError, ValueError, OverflowError) as error:
        raise HarnetError(f"{path}: cannot be decoded ({error}): copy the file again, or leave it out") from error
    times, acceleration = samples.finish()
    return Recording(
        acceleration=acceleration,
        times=times,
        nominal_rate=blocks.rate,
        device=f"Axivity {header['hardware_type']}",
        clock="local",
        range_g=blocks.range_g,
        temperature=temperature_of(block_times[heated], celsius(blocks.thermometer[heated])),
        notes=tally.notes(),
        metadata={key: header[key] for key in PUBLIC_METADATA if header.get(key) is not None},
    )


def _piece(path: Path, start: int, stop: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Times (n,) in seconds and acceleration (n, 3) in g of the blocks start..stop.

    The library looks back to the block before `start`, so pieces give the same times as the whole.
    """
    frame = cwa_reader_rs.read_cwa_file(
        str(path),
        cut=cwa_reader_rs.blocks(start, stop),
        include_magnetometer=False,
        include_temperature=False,
        include_light=False,
        include_battery=False,
    )
    times = pd.DatetimeIndex(frame.index).as_unit("us").asi8 / 1e6
    acceleration = np.empty((len(frame), 3), np.float32)
    for axis, column in enumerate(("acc_x", "acc_y", "acc_z")):
        acceleration[:, axis] = frame[column]
    return times, acceleration
