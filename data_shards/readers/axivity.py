"""Axivity AX3 and AX6 (.cwa).

Layout of the file: `cwa.h` in the Open Movement project: a header of 1,024 bytes that begins with "MD", then data
blocks of 512 bytes that begin with "AX". The 16-bit little-endian words of a sound block sum to 0 modulo 65,536.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import cwa_reader_rs
import numpy as np
from numpy.typing import NDArray

from data_shards.readers.protocol import Found, Reader, ReadOptions
from data_shards.recording import Recording
from harnet.errors import HarnetError

HEADER_BYTES = 1024
BLOCK_BYTES = 512
HEADER_START = b"MD\xfc\x03"
"""Tag and length (1,020) of the header."""
BLOCK_START = b"AX\xfc\x01"
"""Tag and length (508) of a data block."""

BLOCKS_AT_A_TIME = 32_768
"""16 MB: checking a year-long file must not need its size in memory."""
MAX_BACKWARD_SHARE = 0.01
"""A few samples whose time runs backwards are dropped; more of them means that the clock was reset."""

PUBLIC_METADATA = ("device_id", "session_id", "sample_rate_hz", "accel_range", "gyro_range", "firmware_revision")
"""Kept from the header. Its free-text annotation may hold a name, so it is never copied."""


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
        sound, written = check_blocks(path)
        if not sound.any():
            raise HarnetError(f"{path}: no sound data block among {written} written: copy the file again")
        notes: tuple[str, ...] = ()
        whole = path.stat().st_size == HEADER_BYTES + BLOCK_BYTES * len(sound)
        if whole and sound.all():
            recording = _decode(path, path, notes)
        else:
            damaged = written - int(sound.sum())
            if damaged:
                notes += (f"{damaged} of {written} data blocks damaged: dropped",)
            if not whole:
                notes += ("the file ends within a data block: truncated",)
            with tempfile.TemporaryDirectory(prefix="harnet-") as folder:
                cleaned = Path(folder) / "sound.cwa"
                _copy_blocks(path, cleaned, sound)
                recording = _decode(cleaned, path, notes)
        yield Found(recording, label=path.stem)


def check_blocks(path: Path) -> tuple[NDArray[np.bool_], int]:
    """Which data blocks are sound, (blocks,) bool, and how many were written at all.

    A block of one repeated byte (0x00 or 0xFF) is memory that the device never wrote: neither sound nor damaged.
    """
    sound: list[NDArray[np.bool_]] = []
    written = 0
    for blocks in _blocks(path):
        starts = (blocks[:, :4] == np.frombuffer(BLOCK_START, np.uint8)).all(axis=1)
        sums = blocks.view("<u2").sum(axis=1, dtype=np.uint32) & 0xFFFF
        sound.append(starts & (sums == 0))
        blank = (blocks == blocks[:, :1]).all(axis=1) & np.isin(blocks[:, 0], (0x00, 0xFF))
        written += len(blocks) - int(blank.sum())
    return np.concatenate(sound) if sound else np.zeros(0, bool), written


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


def _decode(path: Path, named: Path, notes: tuple[str, ...]) -> Recording:
    """Decode a file of sound blocks; errors name the file that the user gave, `named`."""
    try:
        header = cwa_reader_rs.read_metadata(str(path))
        frame = cwa_reader_rs.read_cwa_file(
            str(path),
            include_magnetometer=False,
            include_temperature=False,
            include_light=False,
            include_battery=False,
        )
    except (RuntimeError, ValueError, OverflowError) as error:
        raise HarnetError(f"{named}: cannot be decoded ({error}): copy the file again, or leave it out") from error
    times = frame.index.to_numpy().astype("datetime64[us]").astype(np.int64) / 1e6
    acceleration = np.empty((len(frame), 3), np.float32)
    for axis, column in enumerate(("acc_x", "acc_y", "acc_z")):
        acceleration[:, axis] = frame.pop(column)
    times, acceleration, notes = _forward_only(times, acceleration, notes, named)
    return Recording(
        acceleration=acceleration,
        times=times,
        nominal_rate=float(header["sample_rate_hz"]),
        device=f"Axivity {header['hardware_type']}",
        clock="local",
        notes=notes,
        metadata={key: header[key] for key in PUBLIC_METADATA if header.get(key) is not None},
    )


def _forward_only(
    times: NDArray[np.float64], acceleration: NDArray[np.float32], notes: tuple[str, ...], named: Path
) -> tuple[NDArray[np.float64], NDArray[np.float32], tuple[str, ...]]:
    """Leave out samples that are not later than every sample before them."""
    if (np.diff(times) > 0).all():
        return times, acceleration, notes
    latest = np.maximum.accumulate(times)
    forward = np.concatenate([[True], times[1:] > latest[:-1]])
    backward = int((~forward).sum())
    if backward > MAX_BACKWARD_SHARE * len(times):
        raise HarnetError(
            f"{named}: the clock runs backwards for {backward} of {len(times)} samples (reset while recording?): "
            "split the file at the reset, or leave it out"
        )
    return times[forward], acceleration[forward], (*notes, f"{backward} samples with backward times: dropped")
