"""Where shards are: byte ranges of files in a local folder, or of objects that fsspec can read."""

import os
from pathlib import Path
from typing import Protocol

from data_shards.stream.descriptors import OpenFile, OpenFiles
from harnet.errors import HarnetError


class Missing(Exception):
    """The file is not there, as far as can be seen: a mount that was lost looks the same."""


class Truncated(Exception):
    """The file ends before the range does."""


class Storage(Protocol):
    """Byte ranges by file name. Opened anew in each process: neither descriptors nor connections survive a fork."""

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """Fill `out` with the bytes of a file from `offset` on.

        Raises:
            Missing: there is no such file.
            Truncated: it is too short.
            OSError: they could not be read, which says nothing about them; another attempt may succeed.
            HarnetError: nothing can be read, and why.
        """

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Say that a range will be read soon."""

    def forget(self, name: str, offset: int, length: int) -> None:
        """Drop what is held of a range, since it did not have the right bytes."""

    def close(self) -> None:
        """Let go of files and connections."""


class LocalStorage:
    """A folder of this machine or of a mounted file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = OpenFiles(folder)

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """See `Storage`. Raises Missing, Truncated, OSError or HarnetError."""
        file, done = self._file(name), 0
        while done < len(out):
            # The kernel may return less than was asked for.
            count = os.preadv(file.descriptor, [out[done:]], offset + done)
            if count == 0:
                raise Truncated(f"{self._folder / name} ends at byte {offset + done}")
            done += count

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Have the kernel read ahead, so that a slow file system is waited for once, not block by block."""
        self._advise(name, offset, length, os.POSIX_FADV_WILLNEED)

    def forget(self, name: str, offset: int, length: int) -> None:
        """Close the file, since a copy may have taken its place, and have the kernel read the range anew."""
        self._advise(name, offset, length, os.POSIX_FADV_DONTNEED)
        self._files.forget(name)

    def close(self) -> None:
        """Close all files."""
        self._files.close()

    def _file(self, name: str) -> OpenFile:
        try:
            return self._files.get(name)
        except FileNotFoundError:
            raise Missing(f"{self._folder / name} is missing") from None
        except PermissionError:
            raise HarnetError(
                f"{self._folder / name}: may not be read: ask for read permission on the shards"
            ) from None

    def _advise(self, name: str, offset: int, length: int, advice: int) -> None:
        try:
            os.posix_fadvise(self._file(name).descriptor, offset, length, advice)
        except (Missing, OSError):
            # Advice. What is wrong will be wrong when it is read, and is told then.
            return
