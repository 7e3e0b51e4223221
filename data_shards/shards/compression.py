"""Lossless compression of a block's signal: its .npy file as one Blosc chunk, bit-shuffled, with Zstandard.

The reader of a chunk knows its uncompressed size, and allocates nothing before the chunk's header agrees with it.
"""

import struct
from typing import Literal

import numpy as np
from numcodecs import blosc

Compression = Literal["none", "zstd"]

ZSTD_LEVEL = 1
"""Higher levels take several times as long to write and save at most a few per cent (benchmarks/compression.py)."""
BLOSC_BLOCK = 1 << 18
"""Bytes per Blosc block. Blosc's default at this level, 32 KB, takes twice as long to decompress."""

_BLOSC_HEADER = struct.Struct("<BBBBIII")
"""C-Blosc 1 chunk header: version, codec version, flags, type size, uncompressed bytes, block size, compressed bytes
(https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst)."""
_BLOSC_VERSION = 2

# With several threads, blocks are written in order of completion, so the bytes would differ from run to run.
blosc.use_threads = False


def compress(npy: bytes, codec: str = "zstd", level: int = ZSTD_LEVEL, block_bytes: int = BLOSC_BLOCK) -> bytes:
    """Compress an int16 .npy file to a Blosc chunk. Single-threaded, so equal input gives equal bytes."""
    signal = np.frombuffer(npy, "<i2")
    packed: bytes = blosc.compress(signal, codec.encode(), level, blosc.BITSHUFFLE, block_bytes)
    return packed


def decompress(packed: memoryview, expected: int) -> memoryview:
    """The inverse of `compress`, into `expected` bytes.

    Raises:
        ValueError: the chunk is damaged or has another uncompressed size; checked before anything is allocated.
    """
    unpacked, stored = chunk_sizes(packed)
    if (unpacked, stored) != (expected, len(packed)):
        raise ValueError(f"a Blosc chunk of {stored} bytes for {unpacked}, expected {len(packed)} for {expected}")
    out = np.empty(expected, np.uint8)
    try:
        blosc.decompress(packed, out)
    except RuntimeError as error:
        raise ValueError(f"damaged Blosc chunk ({error})") from error
    return out.data


def chunk_sizes(content: memoryview) -> tuple[int, int]:
    """Uncompressed and compressed size in bytes, according to the header of a Blosc chunk of 16-bit numbers."""
    if len(content) < _BLOSC_HEADER.size:
        raise ValueError(f"{len(content)} bytes: too few for a signal")
    version, _, _, item, unpacked, _, packed = _BLOSC_HEADER.unpack_from(content)
    if version != _BLOSC_VERSION or item != 2:
        raise ValueError("neither a .npy file nor a Blosc chunk of 16-bit numbers at the start of the block")
    return unpacked, packed
