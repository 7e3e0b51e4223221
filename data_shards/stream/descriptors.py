"""Open files of a folder of thousands: those used last stay open, and never more than the process may have."""

import errno
import os
import resource
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from harnet.errors import HarnetError

_MOST = 512
"""Files that one folder keeps open: what 16 lanes of a process have announced, many times over."""
_SHARE = 4
"""Of the process's limit, one part in so many: sockets, pipes and libraries need descriptors too."""
_ENOUGH = 65_536
"""Where the hard limit is practically none; a very large soft limit slows down whoever closes all descriptors."""


class OpenFile:
    """A descriptor for reading that is closed when its last user lets go of it, be that a cache or a thread."""

    def __init__(self, path: Path) -> None:
        self.descriptor = -1
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)


class OpenFiles:
    """Files of a folder, opened on first use; safe for several threads. Each process has its own."""

    def __init__(self, folder: Path, most: int | None = None) -> None:
        self._folder, self._most = folder, most or allowance()
        self._files: OrderedDict[str, OpenFile] = OrderedDict()
        self._lock = Lock()

    def get(self, name: str) -> OpenFile:
        """A file, open at least as long as the caller keeps the answer.

        Raises:
            OSError: it cannot be opened.
            HarnetError: this process has no descriptor left, and none of them is in here.
        """
        with self._lock:
            if name not in self._files:
                while len(self._files) >= self._most:
                    self._files.popitem(last=False)
                self._files[name] = self._open(self._folder / name)
            self._files.move_to_end(name)
            return self._files[name]

    def forget(self, name: str) -> None:
        """Open a file anew when it is asked for next."""
        with self._lock:
            self._files.pop(name, None)

    def close(self) -> None:
        """Let go of all files."""
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
                        f"{path}: cannot be opened: this process has as many open files as it may have: raise the "
                        "limit (`ulimit -n 65536`) and run the same command again"
                    ) from None
                # Whoever else opens files in this process has left less than was thought.
                self._files.popitem(last=False)
                self._most = max(1, len(self._files))


def allowance() -> int:
    """How many files of one folder a process keeps open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(4, min(_MOST, soft // _SHARE)) if soft != resource.RLIM_INFINITY else _MOST


def raise_limit() -> None:
    """Let this process open as many files as it is allowed to allow itself; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
