"""A bounded LRU cache of byte ranges of remote files on a local disk.

There is one folder per corpus, named by the manifest's digest, which a purge changes. Ranges of any corpus that were
not used for `KEPT_DAYS` are deleted by the next process that opens the cache.

The contents are never trusted: a range is returned only at its full length, and the reader verifies its hash. Several
processes may share one folder.
"""

import contextlib
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import xxhash

from data_shards.stream.node_cache import KEPT_DAYS

_LOG = logging.getLogger(__name__)

_SLACK = 50
"""A process scans the folder after adding 1/50 of the size limit since its last scan."""


class BlockCache:
    """Stores each range as a file, named by a hash of its origin."""

    def __init__(self, folder: Path, bound: int, corpus: str) -> None:
        self._root, self._folder, self._bound = folder, folder / corpus[:16], bound
        self._added = 0
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._evict()

    def get(self, source: str, offset: int, length: int) -> bytes | None:
        """The range, or None if it is not cached at its full length."""
        path = self._path(source, offset, length)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            # Not there, or evicted by another process while it was read.
            return None
        return content if len(content) == length else None

    def put(self, source: str, offset: int, content: bytes) -> None:
        """Store a range; without free space it is silently not cached, which only costs time."""
        path = self._path(source, offset, len(content))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(content):x}.tmp")
        self._added += len(content)
        if self._added > self._bound // _SLACK:
            self._added = 0
            self._evict()
        try:
            temporary.write_bytes(content)
            # Not fsynced: after a machine crash, a corrupt block fails its hash and is fetched again.
            os.replace(temporary, path)
        except OSError as error:
            _LOG.warning("%s: a block could not be cached (%s)", self._folder, error)
            temporary.unlink(missing_ok=True)

    def drop(self, source: str, offset: int, length: int) -> None:
        """Remove a range."""
        self._path(source, offset, length).unlink(missing_ok=True)

    def _path(self, source: str, offset: int, length: int) -> Path:
        return self._folder / f"{xxhash.xxh3_128_hexdigest(f'{source} {offset} {length}'.encode())}.block"

    def _evict(self) -> None:
        """Delete ranges that are too old, then the least recently used ones until all corpora fit the size limit.

        Also deletes temporary files of killed writers.
        """
        found = sorted(_files(self._root))
        total, oldest = sum(size for _, size, _ in found), time.time() - KEPT_DAYS * 86_400
        for used, size, path in found:
            if used >= oldest and total <= self._bound - self._bound // _SLACK:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
        for folder in self._root.iterdir():
            if folder != self._folder:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # if it is empty


def _files(root: Path) -> Iterator[tuple[float, int, str]]:
    """Time of last use, size and path of each file."""
    for folder in (root, *root.iterdir()):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith((".block", ".tmp")):
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        yield facts.st_mtime, facts.st_size, entry.path
