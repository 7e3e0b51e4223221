"""Storage of shards: byte ranges of files in a local folder, or of objects that fsspec can read."""

import os
from pathlib import Path
from typing import Protocol

from data_shards.stream.descriptors import OpenFile, OpenFiles
from harnet.errors import HarnetError


class Missing(Exception):
    """The file does not exist, or its mount was lost, which looks the same."""


class Truncated(Exception):
    """The file ends before the range does."""


class Storage(Protocol):
    """Byte ranges by file name. Opened in each process separately: descriptors and connections do not survive forks."""

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """Fill `out` with the bytes of a file from `offset` on.

        Raises:
            Missing: there is no such file.
            Truncated: it is too short.
            OSError: they could not be read; retryable.
            HarnetError: nothing can be read; not retryable.
        """

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Announce that a range will be read soon."""

    def forget(self, name: str, offset: int, length: int) -> None:
        """Drop cached data of a range, because its bytes were wrong."""

    def close(self) -> None:
        """Release files and connections."""


class LocalStorage:
    """A folder on a local or mounted file system."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = OpenFiles(folder)

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """See `Storage`. Raises Missing, Truncated, OSError or HarnetError."""
        file, done = self._file(name), 0
        while done < len(out):
            # The kernel may return fewer bytes than requested.
            count = os.preadv(file.descriptor, [out[done:]], offset + done)
            if count == 0:
                raise Truncated(f"{self._folder / name} ends at byte {offset + done}")
            done += count

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Ask the kernel to read ahead, so that the latency of a slow file system is paid once, not per block."""
        self._advise(name, offset, length, os.POSIX_FADV_WILLNEED)

    def forget(self, name: str, offset: int, length: int) -> None:
        """Close the file, because it may have been replaced, and make the kernel read the range again."""
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
                f"{self._folder / name}: permission denied: ask for read permission on the shards"
            ) from None

    def _advise(self, name: str, offset: int, length: int, advice: int) -> None:
        try:
            os.posix_fadvise(self._file(name).descriptor, offset, length, advice)
        except (Missing, OSError):
            # Only a hint: a real error will occur again when reading, and is reported then.
            return
