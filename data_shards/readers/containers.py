"""Zip and tar archives, opened so that a library cannot be made to read more of them at once than memory holds.

zipfile reads the whole directory of an archive at once, and tarfile an extended header, however long they claim to be.
"""

import io
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harnet.errors import HarnetError

MAX_DIRECTORY_BYTES = 8 << 20
"""Maximum size of a zip archive's directory: some 100,000 files, for which zipfile needs 200 MB."""
MAX_MEMBER_BYTES = 65 << 20
"""Maximum size of what is read at once from a tar: a bit more than the largest member that any reader takes."""


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """A zip archive. Raises what zipfile does, and `HarnetError` for a directory of more than `MAX_DIRECTORY_BYTES`."""
    with _BoundedFile(path, MAX_DIRECTORY_BYTES) as file, zipfile.ZipFile(file) as archive:
        yield archive


@contextmanager
def open_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """An uncompressed tar. Raises what tarfile does, and `HarnetError` for a header of more than `MAX_MEMBER_BYTES`."""
    with _BoundedFile(path, MAX_MEMBER_BYTES) as file, tarfile.open(fileobj=file, mode="r:") as archive:
        yield archive


class _BoundedFile(io.BufferedReader):
    """A file of which a limited number of bytes can be read at once."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(io.FileIO(path))
        self._path = path
        self._limit = limit

    def read(self, size: int | None = -1, /) -> bytes:
        """Like `read` of a file. Raises `HarnetError` if it is asked for more than the limit."""
        if size is not None and size > self._limit:
            raise HarnetError(
                f"{self._path}: damaged archive, or one of far too many files: copy it again, or exclude it"
            )
        return super().read(size)
