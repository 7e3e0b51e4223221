"""Where shards are: byte ranges of files in a local folder, or of objects that fsspec can read."""

import os
from pathlib import Path
from typing import Protocol

from harnet.errors import HarnetError


class Missing(Exception):
    """The file is not there, or ends before the range does."""


class Storage(Protocol):
    """Byte ranges by file name. Opened anew in each process: neither descriptors nor connections survive a fork."""

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """Fill `out` with the bytes of a file from `offset` on.

        Raises:
            Missing: there are no such bytes.
            OSError: they could not be read; another attempt may succeed.
            HarnetError: nothing can be read, and why.
        """

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Say that a range will be read soon."""

    def forget(self, name: str, offset: int, length: int) -> None:
        """Drop what is held of a range, since it did not have the right bytes."""

    def close(self) -> None:
        """Let go of files and connections."""


class LocalStorage:
    """A folder of this machine or of a mounted file system; each file is opened once, on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, int] = {}

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """See `Storage`. Raises Missing, OSError or HarnetError."""
        file, done = self._file(name), 0
        while done < len(out):
            # The kernel may return less than was asked for.
            count = os.preadv(file, [out[done:]], offset + done)
            if count == 0:
                raise Missing(f"{self._folder / name} ends at byte {offset + done}")
            done += count

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Have the kernel read ahead, so that a slow file system is waited for once, not block by block."""
        try:
            os.posix_fadvise(self._file(name), offset, length, os.POSIX_FADV_WILLNEED)
        except (Missing, OSError):
            # Advice. What is wrong will be wrong when it is read, and is told then.
            return

    def forget(self, name: str, offset: int, length: int) -> None:
        """Close the file: a copy under the same name may have taken its place."""
        if name in self._files:
            os.close(self._files.pop(name))

    def close(self) -> None:
        """Close all files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _file(self, name: str) -> int:
        if name not in self._files:
            path = self._folder / name
            try:
                self._files[name] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Missing(f"{path} is missing") from None
            except PermissionError:
                raise HarnetError(f"{path}: may not be read: ask for read permission on the shards") from None
        return self._files[name]
