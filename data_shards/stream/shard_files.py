"""Blocks of a shard folder, by row of its manifest, every one checked against its hash."""

import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_shards.shards.block import digest, from_range
from data_shards.shards.manifest import Manifest
from data_shards.stream.damage import DamagedBlock
from data_shards.stream.storage import LocalStorage, Missing, Storage

Arrays = tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.uint8]]

_ATTEMPTS = 3
_PAUSE = 0.1
"""Seconds before the second attempt, twice that before the third."""


class Shards:
    """Reads blocks; for use in one process."""

    def __init__(self, manifest: Manifest, storage: Storage | None = None) -> None:
        self.manifest = manifest
        self._storage = storage or LocalStorage(Path(manifest.location))
        columns = manifest.columns
        self._shard, self._offset, self._length = columns["shard"], columns["offset"], columns["length"]
        self._hash, self._samples = columns["hash"], columns["samples"]

    def read(self, row: int) -> Arrays:
        """Signal (3, n), motion (n / 30,) and wear (n / 30,) of a block, in memory of their own.

        Raises:
            DamagedBlock: the shard is missing or the block's bytes are not those of the manifest.
            HarnetError: nothing can be read at all.
        """
        return self.read_into(row, memoryview(bytearray(self.length(row))))

    def length(self, row: int) -> int:
        """Bytes that a block takes in its shard."""
        return int(self._length[row])

    def samples(self, row: int) -> int:
        """Samples of a block, n."""
        return int(self._samples[row])

    def read_into(self, row: int, buffer: memoryview) -> Arrays:
        """Like `read`; the arrays are views into `buffer`, unless the block is compressed.

        `buffer` has at least `length(row)` bytes.
        """
        content = buffer[: self.length(row)]
        name, offset = self._place(row)
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                self._storage.read_into(name, offset, content)
                if digest(content) == self._hash[row]:
                    return from_range(content, self.samples(row))
                problem = "its bytes are not those of the manifest"
            except Missing as error:
                problem = str(error)
            except OSError as error:
                problem = f"cannot be read ({error.strerror or error})"
            except ValueError as error:
                # The right bytes, by their hash, and yet no block: reading again cannot help.
                problem, last = str(error), True
            if last:
                break
            # A file system that was away for a moment, or a shard that was just being replaced.
            self._storage.forget(name, offset, len(content))
            time.sleep(_PAUSE * 2**attempt)
        raise DamagedBlock(
            f"{self.manifest.name_of(row)}: damaged: {problem}; `harnet verify` lists what is wrong and the remedy"
        )

    def prefetch(self, row: int) -> None:
        """Say that a block will be read soon."""
        self._storage.prefetch(*self._place(row), self.length(row))

    def close(self) -> None:
        """Let go of files and connections."""
        self._storage.close()

    def _place(self, row: int) -> tuple[str, int]:
        return self.manifest.shards[self._shard[row]].name, int(self._offset[row])

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
