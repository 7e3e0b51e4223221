"""Arrays that the processes of a node share: computed by one, mapped by all, never trusted without a check.

An entry is a folder of .npy files and an index with the size and hash of each. It is written under a temporary name
and renamed, by whichever process holds the entry's lock; the others wait for it. Where the file system has no locks,
each process makes the entry, and the first one's stays. An entry that is not what its index says is made anew. The
cache may be deleted at any time: what is mapped stays.
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
"""An entry that no process has opened for so long is deleted."""
KEPT_ENTRIES = 100
"""And so are all but the last ones that were opened: plans of 3 million visits are 40 MB each."""


@dataclass(frozen=True)
class Entry:
    """Arrays and facts under one key, as they were when they were checked."""

    folder: Path
    """Where they are."""
    facts: Mapping[str, Any]
    """What was stored beside the arrays; plain JSON."""

    def array(self, name: str) -> NDArray[Any]:
        """An array, mapped from its file, read-only."""
        mapped = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        # As a plain array: a memmap is slower to index, and pickles as a copy of the whole.
        return np.asarray(mapped)


class NodeCache:
    """A folder of entries, one a key."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def open(cls, root: Path | None = None) -> "NodeCache":
        """The cache in `root`, by default `harnet-<user id>` in the node's folder for temporary files.

        Raises:
            HarnetError: the folder cannot be made, or others could write into it.
        """
        root = root or Path(tempfile.gettempdir()) / f"harnet-{os.getuid()}"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            found = root.lstat()
        except OSError as error:
            raise HarnetError(
                f"{root}: no cache folder can be made there ({error}): give another --data.cache"
            ) from None
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise HarnetError(
                f"{root}: others can write there, or it is not yours, and what is in it could not be trusted: "
                "remove it, or give another --data.cache"
            )
        cache = cls(root)
        cache._prune()
        return cache

    def get(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        """The entry of a key; where there is none, or a damaged one, `make` writes its .npy files into a folder.

        `make` gets an empty folder and returns facts to store beside the arrays. Of many processes that ask at the
        same time one calls it, and the others wait.

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
            if {path.name: _fingerprint(path) for path in folder.glob("*.npy")} != files:
                return None
        except (OSError, ValueError, KeyError, TypeError):
            # Not there, pruned meanwhile, or not what was written: made anew all the same.
            return None
        with suppress(OSError):
            # Says that somebody needs it, to whoever prunes.
            os.utime(folder)
        return Entry(folder, facts)

    def _write(self, key: str, make: Callable[[Path], Mapping[str, Any]]) -> Entry:
        self._prune()
        temporary, final = self.root / f"{key}.{uuid.uuid4().hex}.tmp", self.root / key
        damaged = temporary.with_suffix(".damaged.tmp")
        try:
            temporary.mkdir(mode=0o700)
            facts = dict(make(temporary))
            files = {path.name: _fingerprint(path) for path in sorted(temporary.glob("*.npy"))}
            (temporary / _INDEX).write_text(json.dumps({"files": files, "facts": facts}))
            fsync_folder(temporary)
            if final.exists() and self._read(key) is None:
                # Damaged. Processes that have mapped it keep what they have.
                os.replace(final, damaged)
            publish(temporary, final)
        except OSError as error:
            # Without a lock another process may have been first.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST) or self._read(key) is None:
                raise HarnetError(
                    f"{self.root}: not writable ({error}): make room there, or give another --data.cache"
                ) from error
        finally:
            for folder in (temporary, damaged):
                shutil.rmtree(folder, ignore_errors=True)
        entry = self._read(key)
        if entry is None:
            raise HarnetError(f"{final}: reads back otherwise than it was written: is the disk of --data.cache sound?")
        return entry

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Alone on this node; the kernel lets go of the lock of a process that was killed."""
        descriptor = os.open(self.root / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in LACKING:
                    raise
                _LOG.warning("%s: its file system has no locks (%s), so every process makes its own plan: give a "
                             "folder on a local disk as --data.cache", self.root, error.strerror)  # fmt: skip
            yield
        finally:
            os.close(descriptor)

    def _prune(self) -> None:
        """Delete what nobody has opened for long, half-written entries of killed processes included."""
        oldest = time.time() - KEPT_DAYS * 86_400
        entries = sorted(self._entries(), reverse=True)
        for number, (opened, path) in enumerate(entries):
            if opened < oldest or number >= KEPT_ENTRIES:
                shutil.rmtree(path, ignore_errors=True)

    def _entries(self) -> Iterator[tuple[float, Path]]:
        """When each entry was last opened. Locks stay: one that is deleted while it is held is no lock."""
        for path in self.root.iterdir():
            with suppress(FileNotFoundError):
                found = path.lstat()
                if stat.S_ISDIR(found.st_mode) and (path / _INDEX).exists() | path.name.endswith(".tmp"):
                    yield found.st_mtime, path


def _fingerprint(path: Path) -> list[Any]:
    """Size and xxh3-128 of a file, read in pieces: mapping it would count as this process's memory."""
    digest, buffer = xxhash.xxh3_128(), bytearray(_CHUNK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            digest.update(memoryview(buffer)[:count])
        return [file.tell(), digest.hexdigest()]
