"""Ranges of remote files on a local disk, up to a number of bytes; the ones that were used last stay.

What is in it is never trusted: a range is read only at its full length, and whoever reads it checks its hash. Several
processes may share one folder.
"""

import contextlib
import logging
import os
from pathlib import Path

import xxhash

_LOG = logging.getLogger(__name__)

_SLACK = 50
"""The folder is looked through when a process has added 1/50 of the bound since it did so last."""


class BlockCache:
    """Keeps ranges as files of their own, named by a hash of where they came from."""

    def __init__(self, folder: Path, bound: int) -> None:
        self._folder, self._bound = folder, bound
        self._added = bound
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

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
        """Delete what was not used for longest until the folder is under its bound; leftovers of killed writers too."""
        found, total = [], 0
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.name.endswith((".block", ".tmp")):
                    with contextlib.suppress(FileNotFoundError):
                        facts = entry.stat(follow_symlinks=False)
                        found.append((facts.st_mtime_ns, facts.st_size, entry.path))
                        total += facts.st_size
        for _, size, path in sorted(found):
            if total <= self._bound - self._bound // _SLACK:
                return
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            total -= size
