"""The signal of a stored recording, hour by hour, straight from the files of its Zarr array.

For sharding alone, which reads every hour of a cohort once, in order: decoding an hour takes 0.5 ms, and Zarr's
pipeline of tasks and threads around it as much again (benchmarks/shard.py measures both).

Files as in the Zarr v3 core specification (chunk key encoding "default") and its codec "sharding_indexed": a file
c/0/K of chunks, each of one hour here; at the end, for each of them, offset and length as little-endian uint64, both
2^64 - 1 for one that is all missing; then four bytes of CRC-32C.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from zarr.core.metadata import ArrayV3Metadata

from data_shards.cohort.stored import StoredRecording
from data_shards.layout import MISSING, SAMPLES_PER_HOUR
from data_shards.shards.compression import decompress
from harnet.errors import HarnetError

_ENTRY = 16
_CRC = 4
_ABSENT = 2**64 - 1
_HOUR_BYTES = 3 * SAMPLES_PER_HOUR * 2


class SignalHours:
    """Reads hours of one recording; keeps the index of one file."""

    def __init__(self, stored: StoredRecording) -> None:
        array = stored.group["accel"]
        self._folder: Path = stored.folder / "accel" / "c" / "0"
        self._hours_a_file = _hours_a_file(array)
        self._number = -1
        self._content: memoryview = memoryview(b"")
        self._index: list[tuple[int, int]] = []

    def read(self, hour: int) -> NDArray[np.int16]:
        """(3, 108,000) counts of the hour's samples, MISSING where nothing was recorded.

        Raises:
            HarnetError: the file is damaged.
        """
        number, place = divmod(hour, self._hours_a_file)
        if number != self._number:
            self._open(number)
        offset, length = self._index[place]
        if (offset, length) == (_ABSENT, _ABSENT):
            return np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16)
        try:
            unpacked = decompress(self._content[offset : offset + length], _HOUR_BYTES)
        except ValueError as error:
            raise HarnetError(
                f"{self._folder / str(number)}: hour {hour} damaged ({error}): remove the recording and ingest it again"
            ) from error
        return np.frombuffer(unpacked, "<i2").reshape(3, SAMPLES_PER_HOUR)

    def _open(self, number: int) -> None:
        path, size = self._folder / str(number), self._hours_a_file * _ENTRY
        self._number, self._index = number, [(_ABSENT, _ABSENT)] * self._hours_a_file
        if not path.exists():
            return  # nothing was recorded in any of its hours
        self._content = memoryview(path.read_bytes())
        if len(self._content) < size + _CRC:
            raise HarnetError(f"{path}: cut off: remove the recording and ingest it again")
        entries = np.frombuffer(self._content[-size - _CRC : -_CRC], "<u8").reshape(-1, 2)
        self._index = [(offset, length) for offset, length in entries.tolist()]


def _hours_a_file(array: Any) -> int:
    """Hours in a file of the array, which must be laid out as `stored.write_arrays` does."""
    metadata = array.metadata
    assert isinstance(metadata, ArrayV3Metadata)
    sharding: Any = metadata.codecs[0].to_dict()
    inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
    assert (len(metadata.codecs), sharding["name"]) == (1, "sharding_indexed")
    assert sharding["configuration"].get("index_location", "end") == "end"
    assert (inner, array.chunks, array.dtype) == (["bytes", "blosc"], (3, SAMPLES_PER_HOUR), np.dtype("<i2"))
    return int(array.shards[1]) // SAMPLES_PER_HOUR
