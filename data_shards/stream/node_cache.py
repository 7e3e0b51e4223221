"""Arrays shared by the processes of a node: computed by one, memory-mapped by all, and always verified.

An entry is a folder of .npy files and an index with the size and hash of each. The process that holds the entry's lock
writes it under a temporary name and renames it; the others wait. On a file system without locks every process computes
the entry, and the first one is kept. An entry that does not match its index is computed again. The cache may be deleted
at any time: mapped files remain usable.
"""

import errno
import fcntl
import json
import logging
import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from harnet.errors import HarnetError
from harnet.files import LACKING, fsync_folder, publish

_LOG = logging.getLogger(__name__)

_INDEX = "index.json"
_CHUNK = 1 << 22

KEPT_DAYS = 7.0
"""Days after which an unused entry is deleted."""
KEPT_ENTRIES = 100
"""Number of most recently used entries to keep: a plan of 3 million visits takes 40 MB."""


@dataclass(frozen=True)
class Entry:
    """Verified arrays and metadata of one key."""

    folder: Path
    """Folder of the entry."""
    facts: Mapping[str, Any]
    """JSON metadata stored beside the arrays."""

    def array(self, name: str) -> NDArray[Any]:
        """An array, memory-mapped from its file, read-only."""
        mapped = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        # As a plain array: np.memmap is slower to index, and pickles as a copy of all its data.
        return np.asarray(mapped)


class NodeCache:
    """A folder with one entry per key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path | None = None) -> "NodeCache":
        """Open the cache in `root`, by default `harnet-<user id>` in the node's folder for temporary files.

        Raises:
            HarnetError: the folder cannot be created, or other users can write to it.
        """
        root = root or Path(tempfile.gettempdir()) / f"harnet-{os.getuid()}"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = root.lstat()
        except OSError as error:
            raise HarnetError(
                f"{root}: the cache folder cannot be created ({error}): pass another --data.cache"
            ) from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise HarnetError(
                f"{root}: belongs to, or is writable by, another user, so its contents cannot be trusted: "
                "delete it, or pass another --data.cache"
            )
        cache = cls(root)
        cache._prune()
        return cache

    def get(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """The entry of a key; if it is missing or damaged, `make` writes its .npy files to a folder.

        `make` receives an empty folder and returns metadata to store beside the arrays. If several processes request
        the same key, one calls it and the others wait.

        Raises:
            HarnetError: the disk is full, or the cache cannot be written.
        """
        entry = self._read(key)
        if entry is None:
            with self._locked(key):
                entry = self._read(key) or self._write(key, make)
        return entry

    def _read(self, key: str) -> Entry | None:
        folder = self.root / key
        try:
            index = json.loads((folder / _INDEX).read_bytes())
            facts, files = index["facts"], index["files"]
            if {path.name: _size_and_hash(path) for path in folder.glob("*.npy")} != files:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            # Missing, pruned meanwhile or damaged: computed again in any case.
            return None
        with suppress(OSError):
            # Marks the entry as used, for pruning.
            os.utime(folder)
        return Entry(folder, facts)

    def _write(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        self._prune()
        temporary, final = self.root / f"{key}.{uuid.uuid4().hex}.tmp", self.root / key
        damaged = temporary.with_suffix(".damaged.tmp")
        try:
            temporary.mkdir(mode=0o700)
            facts = dict(make(temporary))
            files = {path.name: _size_and_hash(path) for path in sorted(temporary.glob("*.npy"))}
            (temporary / _INDEX).write_text(json.dumps({"files": files, "facts": facts}))
            fsync_folder(temporary)
            if final.exists() and self._read(key) is None:
                # Damaged. Processes that have mapped it keep their mapping.
                os.replace(final, damaged)
            publish(temporary, final)
        except OSError as error:
            # Without locks another process may have been faster.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or self._read(key) is None:
                raise HarnetError(
                    f"{self.root}: not writable ({error}): free some space, or pass another --data.cache"
                ) from error
        finally:
            for folder in (temporary, damaged):
                shutil.rmtree(folder, ignore_errors=True)
        entry = self._read(key)
        if entry is None:
            raise HarnetError(f"{final}: differs from what was written: check the disk of --data.cache")
        return entry

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock on this node; the kernel releases the lock of a killed process."""
        descriptor = os.open(self.root / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in LACKING:
                    raise
                _LOG.warning("%s: its file system has no locks (%s), so every process computes its own plan: pass a "
                             "folder on a local disk as --data.cache", self.root, error.strerror)  # fmt: skip
            yield
        finally:
            os.close(descriptor)

    def _prune(self) -> None:
        """Delete entries that were not used for long, and partial entries of killed processes."""
        oldest = time.time() - KEPT_DAYS * 86_400
        entries = sorted(self._entries(), reverse=True)
        for number, (opened, path) in enumerate(entries):
            if opened < oldest or number >= KEPT_ENTRIES:
                shutil.rmtree(path, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[float, Path]]:
        """Time of last use and path of each entry. Locks are never deleted: a deleted lock excludes nobody."""
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):
                found = path.lstat()
                if stat.S_ISDIR(found.st_mode) and (path / _INDEX).exists() | path.name.endswith(".tmp"):
                    yield found.st_mtime, path


def _size_and_hash(path: Path) -> list[Any]:
    """Size and xxh3-128 of a file, read in chunks: mapping it would count as this process's memory."""
    digest, buffer = xxhash.xxh3_128(), bytearray(_CHUNK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
        return [file.tell(), digest.hexdigest()]
