"""Reading blocks of a shard folder by manifest row, each verified against its hash."""

import time
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_shards.shards.block import digest, from_range
from data_shards.shards.manifest import Manifest
from data_shards.stream.damage import DamagedBlock
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.storage import LocalStorage, Storage, Truncated

Arrays = tuple[NDArray[np.int16], NDArray[np.float32], NDArray[np.uint8]]

_SIGHTINGS = 2
"""Number of reads with wrong bytes before a block counts as damaged: a shard may be in the middle of replacement."""
_PAUSE = 0.2
"""Seconds between these reads."""


class Shards:
    """Reads blocks; not shared between processes."""

    def __init__(
        self, manifest: Manifest, storage: Storage | None = None, retry_policy: RetryPolicy | None = None
    ) -> None:
        self.manifest = manifest
        self._retry_policy = retry_policy or RetryPolicy()
        self._storage = storage or LocalStorage(Path(manifest.location))
        columns = manifest.columns
        self._shard, self._offset, self._length = columns["shard"], columns["offset"], columns["length"]
        self._hash, self._samples = columns["hash"], columns["samples"]

    def read(self, row: int) -> Arrays:
        """Signal (3, n), motion (n / 30,) and wear (n / 30,) of a block, in newly allocated memory.

        Raises:
            DamagedBlock: the shard is too short or the block's bytes do not match the manifest.
            Unreachable: it was missing or could not be read until the retries were exhausted.
            HarnetError: permission is denied.
        """
        return self.read_into(row, memoryview(bytearray(self.length(row))))

    def length(self, row: int) -> int:
        """Size of a block's range in bytes."""
        return int(self._length[row])

    def samples(self, row: int) -> int:
        """Number of samples of a block, n."""
        return int(self._samples[row])

    def read_into(self, row: int, buffer: memoryview) -> Arrays:
        """Like `read`; the arrays are views into `buffer`, unless the block is compressed.

        `buffer` has at least `length(row)` bytes.
        """
        content = buffer[: self.length(row)]
        problem = ""
        for sighting in range(_SIGHTINGS):
            if sighting:
                self._storage.forget(*self._place(row), len(content))
                time.sleep(_PAUSE)
            try:
                self._fetch(row, content)
            except Truncated as error:
                problem = str(error)
                continue
            if digest(content) != self._hash[row]:
                problem = "its bytes do not match the manifest"
                continue
            try:
                return from_range(content, self.samples(row))
            except ValueError as error:
                # The hash is right but the content is not a block: reading again cannot help.
                problem = str(error)
                break
        raise DamagedBlock(
            f"{self.manifest.name_of(row)}: damaged: {problem}; run `harnet verify` for details and advice"
        )

    def prefetch(self, row: int) -> None:
        """Announce that a block will be read soon."""
        self._storage.prefetch(*self._place(row), self.length(row))

    def close(self) -> None:
        """Release files and connections."""
        self._storage.close()

    def _fetch(self, row: int, content: memoryview) -> None:
        """Read the bytes of a block into `content`, unverified. Raises Truncated or HarnetError."""
        name, offset = self._place(row)
        read = partial(self._storage.read_into, name, offset, content)
        again = partial(self._storage.forget, name, offset, len(content))
        self._retry_policy.read(read, f"{self.manifest.where}/{name}", again)

    def _place(self, row: int) -> tuple[str, int]:
        return self.manifest.shards[self._shard[row]].name, int(self._offset[row])

    def __enter__(self) -> "Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
