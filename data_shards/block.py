"""One person-hour as one sample of a shard: the bytes, where each part lies, and the way back.

Members of a sample, in tar order, which is the alphabetical order that webdataset writes:

    KEY.about.json   participant, recording, hour, first_second
    KEY.accel.npy    int16 (3, n), counts of 1/4096 g, MISSING where nothing was recorded
    KEY.motion.npy   float32 (n / 30,), g
    KEY.wear.npy     uint8 (n / 30,), 1 where the second is complete and worn

Stock webdataset reads this with `.decode()`. The trainer reads one contiguous range of the file instead,
from the first byte of accel.npy to the last of wear.npy; what lies where in it follows from n alone.
"""

import io
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SECONDS_PER_HOUR
from harnet.errors import HarnetError

TAR_RECORD = 512
"""Tar writes headers and pads contents to multiples of 512 bytes (POSIX.1-1988 ustar)."""


@dataclass(frozen=True)
class Block:
    """A person-hour, or less of one at the ends of a recording."""

    participant: str
    """Pseudonym."""
    recording: str
    """Name of the recording in the cohort store."""
    hour: int
    """Clock hours since 1970-01-01 00:00 on the recording's clock."""
    first_second: int
    """Second of the hour at which the block starts."""
    accel: NDArray[np.int16]
    """(3, n) counts of 1/4096 g, little-endian; n is a multiple of 30."""
    motion: NDArray[np.float32]
    """(n / 30,) per-second standard deviation over the three axes, g."""
    wear: NDArray[np.uint8]
    """(n / 30,) 1 where the second is complete and worn."""

    @property
    def key(self) -> str:
        """The sample's name in the tar, unique in a cohort; no dot after the last slash, as webdataset needs."""
        return f"{self.recording}/{self.hour}"


def trim(hour_start: int, accel: NDArray[np.int16], motion: NDArray[np.float32], wear: NDArray[np.uint8]) -> slice:
    """The seconds of an hour from the first to the last that hold any sample.

    A gap inside stays, as MISSING; only the ends of a recording make a block shorter than an hour.

    Raises:
        HarnetError: the hour holds no sample at all.
    """
    present = np.flatnonzero((accel[0].reshape(-1, RATE) != MISSING).any(axis=1))
    if len(present) == 0:
        raise HarnetError(f"hour {hour_start} is worn by its mask but holds no sample: ingest the recording again")
    return slice(int(present[0]), int(present[-1]) + 1)


def to_sample(block: Block) -> dict[str, Any]:
    """The block as a webdataset sample of raw bytes."""
    about = {
        "participant": block.participant,
        "recording": block.recording,
        "hour": block.hour,
        "first_second": block.first_second,
        "rate_hz": RATE,
        "counts_per_g": COUNTS_PER_G,
        "missing": MISSING,
    }
    return {
        "__key__": block.key,
        "about.json": json.dumps(about, sort_keys=True).encode(),
        "accel.npy": _npy(block.accel.astype("<i2", copy=False)),
        "motion.npy": _npy(block.motion.astype("<f4", copy=False)),
        "wear.npy": _npy(block.wear.astype("u1", copy=False)),
    }


def range_length(samples: int) -> int:
    """Bytes from the start of accel.npy to the end of wear.npy for a block of n samples."""
    *_, (_, last_start, last_length) = _parts(samples)
    return last_start + last_length


def digest(content: bytes | memoryview) -> int:
    """xxh3-64 of a block's range, as the manifest keeps it."""
    return xxhash.xxh3_64_intdigest(content)


def from_range(content: memoryview, samples: int) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.uint8]]:
    """Signal, motion and wear as views into a block's range, without a copy.

    Raises:
        ValueError: the range does not hold what a block of n samples holds.
    """
    if len(content) != range_length(samples):
        raise ValueError(f"{len(content)} bytes where a block of {samples} samples has {range_length(samples)}")
    accel, motion, wear = (_view(content, *part) for part in _parts(samples))
    return accel.reshape(3, samples), motion, wear


def window_starts(wear: NDArray[np.uint8], window_seconds: int) -> NDArray[np.int64]:
    """Seconds at which a window can start: every second of it is complete and worn. Sorted."""
    if len(wear) < window_seconds:
        return np.empty(0, np.int64)
    worn = np.concatenate([[0], np.cumsum(wear, dtype=np.int64)])
    return np.flatnonzero(worn[window_seconds:] - worn[:-window_seconds] == window_seconds)


def _npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


@lru_cache(maxsize=8192)
def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    return _npy(np.empty(shape, dtype))[: -int(np.prod(shape)) * np.dtype(dtype).itemsize]


@lru_cache(maxsize=2 * SECONDS_PER_HOUR)
def _parts(samples: int) -> tuple[tuple[tuple[str, tuple[int, ...]], int, int], ...]:
    """((dtype, shape), start in the range, length) of the three arrays."""
    seconds = samples // RATE
    start, parts = 0, []
    for dtype, shape in (("<i2", (3, samples)), ("<f4", (seconds,)), ("|u1", (seconds,))):
        length = len(_npy_header(dtype, shape)) + int(np.prod(shape)) * np.dtype(dtype).itemsize
        parts.append(((dtype, shape), start, length))
        start += -(-length // TAR_RECORD) * TAR_RECORD + TAR_RECORD
    return tuple(parts)


def _view(content: memoryview, kind: tuple[str, tuple[int, ...]], start: int, length: int) -> NDArray[Any]:
    header = _npy_header(*kind)
    if content[start : start + len(header)] != header:
        raise ValueError(f"no {kind[0]} array of shape {kind[1]} at byte {start} of the block")
    return np.frombuffer(content, kind[0], offset=start + len(header), count=int(np.prod(kind[1])))
