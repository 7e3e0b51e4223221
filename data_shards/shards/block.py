"""One person-hour as one sample of a shard: encoding, layout and decoding.

Members of a sample, in tar order, which is the alphabetical order that webdataset writes:

    KEY.about.json        participant, recording, hour, first_second, compression
    KEY.accel.npy         int16 (3, n), counts of 1/4096 g, MISSING where nothing was recorded;
      or .accel.npy.blosc the same file, compressed
    KEY.motion.npy        float32 (n / 30,), g
    KEY.wear.npy          uint8 (n / 30,), 1 where the second is complete and worn

Stock webdataset reads this with `.decode(only=[...])`. The trainer instead reads one contiguous range of the file, from
the first byte of the signal to the last of wear.npy. The layout inside it follows from n and, if the signal is
compressed, from the size in its Blosc header; nothing is allocated before both agree with the length of the range.
"""

import io
import json
import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from data_shards.layout import COUNTS_PER_G, MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.shards import tar
from data_shards.shards.compression import Compression, chunk_sizes, compress, decompress
from harnet.errors import HarnetError

_NPY_SHAPE = re.compile(rb".{10}\{'descr': '<i2', 'fortran_order': False, 'shape': \(3, (\d{1,6})\)", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A person-hour, or part of one at the ends of a recording."""

    participant: str
    """Pseudonym."""
    recording: str
    """Name of the recording in the cohort store."""
    hour: int
    """Hours since 1970-01-01 00:00 on the recording's clock."""
    first_second: int
    """Second of the hour at which the block starts."""
    accel: NDArray[np.int16]
    """(3, n) counts of 1/4096 g, little-endian; n is a multiple of 30."""
    motion: NDArray[np.float32]
    """(n / 30,) per-second standard deviation, combined over the three axes, in g."""
    wear: NDArray[np.uint8]
    """(n / 30,) 1 where the second is complete and worn."""

    @property
    def key(self) -> str:
        """The sample's name in the tar."""
        return key_of(self.recording, self.hour)


@dataclass(frozen=True)
class Encoded:
    """A block as tar bytes."""

    content: bytes
    """All members, padded; a shard is a concatenation of these."""
    start: int
    """Offset in `content` of the range that the trainer reads: the first byte of the signal."""
    length: int
    """Length of the range in bytes, to the last byte of wear.npy."""

    @property
    def digest(self) -> int:
        """Hash of the range, as stored in the manifest."""
        return digest(memoryview(self.content)[self.start : self.start + self.length])


def key_of(recording: str, hour: int) -> str:
    """Name of a sample, unique in a cohort; no dot after the last slash, as webdataset requires."""
    return f"{recording}/{hour}"


def trim(hour_start: int, accel: NDArray[np.int16]) -> slice:
    """The seconds of an hour from the first to the last that contain any sample.

    Gaps inside are kept as MISSING; only at the ends of a recording is a block shorter than an hour.

    Raises:
        HarnetError: the hour contains no sample.
    """
    seconds = accel[0].reshape(-1, RATE)
    if (seconds[[0, -1]] != MISSING).any(axis=1).all():
        return slice(0, len(seconds))  # the common case, decided without scanning the rest
    present = np.flatnonzero((seconds != MISSING).any(axis=1))
    if len(present) == 0:
        raise HarnetError(f"hour {hour_start} is marked as worn but has no samples: ingest the recording again")
    return slice(int(present[0]), int(present[-1]) + 1)


def to_sample(block: Block, compression: Compression = "none") -> dict[str, bytes]:
    """The members of a block: file extension -> content, in tar order."""
    return {ending: b"".join(content) for ending, content in _members(block, compression).items()}


def encode(block: Block, compression: Compression = "none") -> Encoded:
    """A block as tar bytes."""
    pieces: list[bytes | memoryview] = []
    start = size = content_end = 0
    for ending, content in _members(block, compression).items():
        length = sum(map(len, content))
        if ending.startswith("accel"):
            start = size + tar.RECORD
        content_end = size + tar.RECORD + length
        size = tar.padded(content_end)
        # Joined only once, at the end: copying the signal again would take as long as reading it.
        pieces += [tar.header(f"{block.key}.{ending}", length), *content, bytes(size - content_end)]
    return Encoded(b"".join(pieces), start, content_end - start)


def _members(block: Block, compression: Compression) -> dict[str, tuple[bytes | memoryview, ...]]:
    about = _about(block.participant, block.recording, block.hour, block.first_second, compression)
    accel = _npy(block.accel, "<i2")
    return {
        "about.json": (about,),
        **({"accel.npy": accel} if compression == "none" else {"accel.npy.blosc": (compress(b"".join(accel)),)}),
        "motion.npy": _npy(block.motion, "<f4"),
        "wear.npy": _npy(block.wear, "|u1"),
    }


def head(about: dict[str, Any], content_range: memoryview, samples: int) -> bytes:
    """The bytes before a block's range, reconstructed from the contents of about.json and from the range.

    Raises:
        KeyError, TypeError, ValueError: `about` or the range do not describe a block of n samples.
    """
    names = ("participant", "recording", "hour", "first_second", "compression")
    content = _about(*(about[name] for name in names))
    key = key_of(about["recording"], about["hour"])
    ending = "accel.npy" if about["compression"] == "none" else "accel.npy.blosc"
    signal = tar.header(f"{key}.{ending}", _signal_length(content_range, samples))
    return tar.member(f"{key}.about.json", content) + signal


def parse_block_metadata(before_range: memoryview) -> dict[str, Any]:
    """Content of about.json, from the bytes of a sample before its range.

    Raises:
        ValueError: there is none.
    """
    about = json.loads(bytes(before_range[tar.RECORD :]).partition(b"\0")[0])
    if not isinstance(about, dict):
        raise ValueError("about.json is not an object")
    return about


def range_at(content: memoryview) -> int | None:
    """Length of the range that appears to start at the beginning of `content`; None if there is none or it is cut."""
    try:
        unpacked, stored = (None, 0) if _is_npy(content) else chunk_sizes(content)
        if unpacked is None:
            shape = _NPY_SHAPE.match(content)
            samples = int(shape[1]) if shape else 0
        else:
            # The .npy header has 128 bytes, whatever n is.
            samples = (unpacked - 128) // 6
        length = tar.padded(stored or _size(*_kinds(samples)[0])) + _tail_length(samples)
    except ValueError:
        return None
    return length if length <= len(content) else None


def range_length(samples: int) -> int:
    """Bytes from the start of accel.npy to the end of wear.npy for an uncompressed block of n samples."""
    kinds = _kinds(samples)
    return tar.padded(_size(*kinds[0])) + _tail_length(samples)


def digest(content: bytes | memoryview) -> int:
    """xxh3-64 of a block's range, as stored in the manifest."""
    return xxhash.xxh3_64_intdigest(content)


def from_range(content: memoryview, samples: int) -> tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.uint8]]:
    """Signal, motion and wear of a block's range; zero-copy views into it if it is not compressed.

    Raises:
        ValueError: the range is not that of a block of n samples.
    """
    accel_kind, motion_kind, wear_kind = _kinds(samples)
    stored = _signal_length(content, samples)
    second = tar.padded(stored) + tar.RECORD
    third = second + tar.padded(_size(*motion_kind)) + tar.RECORD
    signal = content[:stored] if _is_npy(content) else decompress(content[:stored], _size(*accel_kind))
    accel = _view(signal, accel_kind, 0)
    return accel.reshape(3, samples), _view(content, motion_kind, second), _view(content, wear_kind, third)


def window_starts(wear: NDArray[np.uint8], window_seconds: int) -> NDArray[np.int64]:
    """Seconds at which a window can start: every second of it is complete and worn. Sorted."""
    if len(wear) < window_seconds:
        return np.empty(0, np.int64)
    worn = np.concatenate([[0], np.cumsum(wear, dtype=np.int64)])
    return np.flatnonzero(worn[window_seconds:] - worn[:-window_seconds] == window_seconds)


def count_starts(wear: NDArray[np.uint8], window_seconds: int) -> int:
    """Number of `window_starts`; fast for hours that are fully worn, which are most."""
    return max(0, len(wear) - window_seconds + 1) if wear.all() else len(window_starts(wear, window_seconds))


def _about(participant: str, recording: str, hour: int, first_second: int, compression: Compression) -> bytes:
    """Content of about.json: only these values and constants."""
    about = {
        "participant": participant,
        "recording": recording,
        "hour": hour,
        "first_second": first_second,
        "rate_hz": RATE,
        "counts_per_g": COUNTS_PER_G,
        "missing": MISSING,
        "compression": compression,
    }
    return json.dumps(about, sort_keys=True).encode()


def _is_npy(content: memoryview) -> bool:
    return content[:6] == b"\x93NUMPY"


def _signal_length(content: memoryview, samples: int) -> int:
    """Size of the first member in a range, after checking that the others fill the rest."""
    stored = _size(*_kinds(samples)[0]) if _is_npy(content) else chunk_sizes(content)[1]
    expected = tar.padded(stored) + _tail_length(samples)
    if len(content) != expected:
        raise ValueError(f"{len(content)} bytes, but a block of {samples} samples has {expected}")
    return stored


def _npy(array: NDArray[Any], dtype: str) -> tuple[bytes, memoryview]:
    """Header and content of a .npy file."""
    stored = np.ascontiguousarray(array, dtype)
    return _npy_header(dtype, stored.shape), stored.reshape(-1).view(np.uint8).data


@lru_cache(maxsize=8192)
def _npy_header(dtype: str, shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@lru_cache(maxsize=2 * SECONDS_PER_HOUR)
def _kinds(samples: int) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """(dtype, shape) of signal, motion and wear."""
    if samples % RATE or not RATE <= samples <= SAMPLES_PER_HOUR:
        raise ValueError(f"{samples} samples: must be 1 to {SECONDS_PER_HOUR} whole seconds")
    return ("<i2", (3, samples)), ("<f4", (samples // RATE,)), ("|u1", (samples // RATE,))


@lru_cache(maxsize=3 * SECONDS_PER_HOUR)
def _size(dtype: str, shape: tuple[int, ...]) -> int:
    return len(_npy_header(dtype, shape)) + math.prod(shape) * np.dtype(dtype).itemsize


def _tail_length(samples: int) -> int:
    """Size of the rest of a range after the padded signal: header and content of motion.npy and wear.npy."""
    _, motion, wear = _kinds(samples)
    return tar.RECORD + tar.padded(_size(*motion)) + tar.RECORD + _size(*wear)


def _view(content: memoryview, kind: tuple[str, tuple[int, ...]], start: int) -> NDArray[Any]:
    header = _npy_header(*kind)
    if content[start : start + len(header)] != header:
        raise ValueError(f"no {kind[0]} array of shape {kind[1]} at byte {start} of the block")
    return np.frombuffer(content, kind[0], offset=start + len(header), count=math.prod(kind[1]))
