"""Ranges of remote files on a local disk, up to a number of bytes; the ones that were used last stay.

They lie in a folder a corpus, named by the manifest's digest, which a purge changes. What nobody used for `KEPT_DAYS`,
of whatever corpus, is deleted by the next process that opens the cache.

What is in it is never trusted: a range is read only at its full length, and whoever reads it checks its hash. Several
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
"""The folder is looked through when a process has added 1/50 of the bound since it did so last."""


class BlockCache:
    """Keeps ranges as files of their own, named by a hash of where they came from."""

    def __init__(self, folder: Path, bound: int, corpus: str) -> None:
        self._root, self._folder, self._bound = folder, folder / corpus[:16], bound
        self._added = 0
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._evict()

    def get(self, source: str, offset: int, length: int) -> bytes | None:
        """A range, if it is there at its full length."""
        path = self._path(source, offset, length)
        try:
            content = path.read_bytes()
            os.utime(path)
        except OSError:
            # Not there, or evicted by another process while it was read.
            return None
        return content if len(content) == length else None

    def put(self, source: str, offset: int, content: bytes) -> None:
        """Keep a range. Where there is no room for it, it is not kept: that costs time and nothing else."""
        path = self._path(source, offset, len(content))
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(content):x}.tmp")
        self._added += len(content)
        if self._added > self._bound // _SLACK:
            self._added = 0
            self._evict()
        try:
            temporary.write_bytes(content)
            # Not flushed: after a crash of the machine a block of wrong bytes fails its hash and is fetched again.
            os.replace(temporary, path)
        except OSError as error:
            _LOG.warning("%s: a block could not be kept (%s)", self._folder, error)
            temporary.unlink(missing_ok=True)

    def drop(self, source: str, offset: int, length: int) -> None:
        """Forget a range."""
        self._path(source, offset, length).unlink(missing_ok=True)

    def _path(self, source: str, offset: int, length: int) -> Path:
        return self._folder / f"{xxhash.xxh3_128_hexdigest(f'{source} {offset} {length}'.encode())}.block"

    def _evict(self) -> None:
        """Delete what is too old, and what was not used for longest until all corpora together are under the bound.

        Leftovers of killed writers too.
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
    """When each file was used last, its size and its path."""
    for folder in (root, *root.iterdir()):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith((".block", ".tmp")):
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        yield facts.st_mtime, facts.st_size, entry.path
