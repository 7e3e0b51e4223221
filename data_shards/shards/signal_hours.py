"""The signal of a stored recording, hour by hour, read directly from the files of its Zarr array.

Used only for sharding, which reads every hour of a cohort once, in order: decoding an hour takes 0.5 ms, and Zarr's
pipeline of tasks and threads as much again (measured by benchmarks/shard.py).

Files follow the Zarr v3 core specification (chunk key encoding "default") and its codec "sharding_indexed": a file
c/0/K contains chunks of one hour each, followed by an index with the offset and length of each chunk as little-endian
uint64, both 2^64 - 1 if all samples are missing, and by the four bytes of the index's CRC-32C. Each chunk ends with its
own CRC-32C (codec "crc32c"), except in older stores. Both are checked here, as Zarr does.
"""

from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from data_shards.cohort import integrity
from data_shards.cohort.stored import StoredRecording
from data_shards.layout import MISSING, SAMPLES_PER_HOUR
from data_shards.shards.compression import decompress

_ENTRY = 16
_CRC = 4
_ABSENT = 2**64 - 1
_HOUR_BYTES = 3 * SAMPLES_PER_HOUR * 2


class SignalHours:
    """Reads hours of one recording; caches the index of one file."""

    def __init__(self, stored: StoredRecording) -> None:
        array: Any = stored.group["accel"]
        self._folder: Path = stored.folder / "accel" / "c" / "0"
        self._hours_a_file, self._checked = _layout(array)
        self._number = -1
        self._content: memoryview = memoryview(b"")
        self._index: list[tuple[int, int]] = []

    def read(self, hour: int) -> NDArray[np.int16]:
        """Samples (3, 108,000) of an hour in counts, MISSING where nothing was recorded.

        Raises:
            HarnetError: the file is damaged; see `integrity.damaged`.
        """
        number, place = divmod(hour, self._hours_a_file)
        if number != self._number:
            self._open(number)
        offset, length = self._index[place]
        if (offset, length) == (_ABSENT, _ABSENT):
            return np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16)
        chunk = self._content[offset : offset + length]
        try:
            unpacked = decompress(_unsealed(chunk) if self._checked else chunk, _HOUR_BYTES)
        except ValueError as error:
            raise integrity.damaged(f"{self._folder / str(number)}: hour {hour}", error) from error
        return np.frombuffer(unpacked, "<i2").reshape(3, SAMPLES_PER_HOUR)

    def _open(self, number: int) -> None:
        path, size = self._folder / str(number), self._hours_a_file * _ENTRY
        self._number, self._index = number, [(_ABSENT, _ABSENT)] * self._hours_a_file
        if not path.exists():
            return  # nothing was recorded in any of its hours
        self._content = memoryview(path.read_bytes())
        if len(self._content) < size + _CRC:
            raise integrity.damaged(path, "truncated")
        try:
            index = _unsealed(self._content[-size - _CRC :])
        except ValueError as error:
            raise integrity.damaged(path, error) from error
        entries = np.frombuffer(index, "<u8").reshape(-1, 2)
        self._index = [(offset, length) for offset, length in entries.tolist()]


def _unsealed(content: memoryview) -> memoryview:
    """Content without its last four bytes, which must be its CRC-32C; ValueError if they are not."""
    body = content[:-_CRC]
    # The function does not accept a memoryview, but an array over one.
    if google_crc32c.value(np.frombuffer(body, np.uint8)) != int.from_bytes(content[-_CRC:], "little"):
        raise ValueError("its checksum differs")
    return body


def _layout(array: Any) -> tuple[int, bool]:
    """Hours per file, and whether hours have checksums, for an array written by `stored.ArrayWriter`."""
    codecs: Any = array.metadata.to_dict()["codecs"]
    sharding = codecs[0]
    inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
    assert (len(codecs), sharding["name"]) == (1, "sharding_indexed")
    assert sharding["configuration"].get("index_location", "end") == "end"
    assert inner[:2] == ["bytes", "blosc"]
    assert inner[2:] in ([], ["crc32c"])
    assert (array.chunks, array.dtype) == ((3, SAMPLES_PER_HOUR), np.dtype("<i2"))
    return int(array.shards[1]) // SAMPLES_PER_HOUR, inner[2:] == ["crc32c"]
