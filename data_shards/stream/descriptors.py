"""An LRU cache of open files in a folder of thousands, bounded by the process's limit of file descriptors."""

import errno
import os
import resource
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from harnet.errors import HarnetError

_MOST = 512
"""Maximum number of files kept open per folder: many times what 16 lanes of a process prefetch."""
_SHARE = 4
"""Use at most 1/_SHARE of the process's limit: sockets, pipes and libraries need descriptors too."""
_ENOUGH = 65_536
"""Soft limit to set if the hard limit is unlimited; a huge soft limit slows programs that close all descriptors."""


class OpenFile:
    """A read-only descriptor that is closed when its last user, the cache or a thread, releases it."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class OpenFiles:
    """Files of a folder, opened on first use; thread-safe. Each process has its own instance."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        self._folder, self._most = folder, most or max_open_files()
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str) -> OpenFile:
        """A file, open at least as long as the caller keeps the result.

        Raises:
            OSError: it cannot be opened.
            HarnetError: the process has no file descriptors left, and this cache has none to close.
        """
        with self._lock:
            if name not in self._files:
                while len(self._files) >= self._most:
                    self._files.popitem(last=False)
                self._files[name] = self._open(self._folder / name)
            self._files.move_to_end(name)
            return self._files[name]

    def forget(self, name: str) -> None:
        """Drop a file, so that the next request opens it again."""
        with self._lock:
            self._files.pop(name, None)

    def close(self) -> None:
        """Release all files."""
        with self._lock:
            self._files.clear()

    def _open(self, path: Path) -> OpenFile:
        while True:
            try:
                return OpenFile(path)
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
                if not self._files:
                    raise HarnetError(
                        f"{path}: cannot be opened: this process has reached its limit of open files: raise it "
                        "(`ulimit -n 65536`) and run the same command again"
                    ) from None
                # Other code in this process has opened more files than expected.
                self._files.popitem(last=False)
                self._most = max(1, len(self._files))


def max_open_files() -> int:
    """Maximum number of files of one folder that a process keeps open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(4, min(_MOST, soft // _SHARE)) if soft != resource.RLIM_INFINITY else _MOST


def raise_limit() -> None:
    """Raise this process's soft limit of open files, usually 1,024, to the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
