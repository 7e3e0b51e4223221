"""The signal of a block, compressed without loss: one Blosc chunk of its .npy file.

Zstandard after a bit-shuffle. Who unpacks a chunk knows the size it must have, and nothing is allocated before the
chunk's header agrees with it.
"""

import struct
from typing import Literal

import numpy as np
from numcodecs import blosc

Compression = Literal["none", "zstd"]

ZSTD_LEVEL = 1
"""benchmarks/compression.py: higher levels take several times as long to write and save a few per cent at most."""
BLOSC_BLOCK = 1 << 18
"""Bytes that Blosc compresses at a time. Its own choice at this level, 32 KB, takes twice as long to unpack."""

_BLOSC_HEADER = struct.Struct("<BBBBIII")
"""C-Blosc 1 chunk header: version, version of the codec, flags, type size, bytes unpacked, of a block, packed
(https://github.com/Blosc/c-blosc/blob/main/README_CHUNK_FORMAT.rst)."""
_BLOSC_VERSION = 2

# Several threads write their pieces in the order in which they finish: other bytes in every run.
blosc.use_threads = False


def compress(npy: bytes, codec: str = "zstd", level: int = ZSTD_LEVEL, block_bytes: int = BLOSC_BLOCK) -> bytes:
    """An int16 .npy file as a Blosc chunk: bit-shuffled, then `codec`. One thread, so equal input gives equal bytes."""
    signal = np.frombuffer(npy, "<i2")
    packed: bytes = blosc.compress(signal, codec.encode(), level, blosc.BITSHUFFLE, block_bytes)
    return packed


def decompress(packed: memoryview, expected: int) -> memoryview:
    """The inverse of `compress`, into `expected` bytes.

    Raises:
        ValueError: the chunk is damaged, or unpacks to another size; nothing is allocated before that is known.
    """
    unpacked, stored = chunk_sizes(packed)
    if (unpacked, stored) != (expected, len(packed)):
        raise ValueError(f"a Blosc chunk of {stored} bytes for {unpacked}, where {len(packed)} for {expected} belong")
    out = np.empty(expected, np.uint8)
    try:
        blosc.decompress(packed, out)
    except RuntimeError as error:
        raise ValueError(f"damaged Blosc chunk ({error})") from error
    return out.data


def chunk_sizes(content: memoryview) -> tuple[int, int]:
    """Bytes unpacked and packed, as the header of a Blosc chunk of 16-bit numbers claims."""
    if len(content) < _BLOSC_HEADER.size:
        raise ValueError(f"{len(content)} bytes, too few for a signal")
    version, _, _, item, unpacked, _, packed = _BLOSC_HEADER.unpack_from(content)
    if version != _BLOSC_VERSION or item != 2:
        raise ValueError("neither a .npy file nor a Blosc chunk of 16-bit numbers at the start of the block")
    return unpacked, packed
