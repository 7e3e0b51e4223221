"""Device files compressed with gzip (.gz) or bzip2 (.bz2): decompressed to a temporary file, then read by content."""

import bz2
import gzip
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from data_shards.readers.device_reader import (
    HEAD_BYTES,
    DeviceReader,
    Found,
    ReadOptions,
    Unusable,
    pieces_of,
    speaking_of,
)
from harnet.errors import HarnetError

MAX_BYTES = 8 << 30
"""Maximum decompressed size, three times a week at 100 Hz as text."""
USUAL_BYTES = 1 << 30
MAX_RATIO = 100
"""A file that unpacks to more than 1 GiB and 100 times its size is a decompression bomb: text gets 3 to 30 times."""
PIECE_BYTES = 1 << 22


class UnpackedStream(Protocol):
    """A file that is decompressed while it is read."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


Opener = Callable[[Path, str], AbstractContextManager[UnpackedStream]]
OPENERS: dict[bytes, Opener] = {b"\x1f\x8b\x08": gzip.open, b"BZh": bz2.open}  # type: ignore[dict-item]
"""First bytes (RFC 1952; bzip2's manual) → function that opens the file for decompression."""


def opener_of(head: bytes) -> Opener | None:
    """The opener for a file that begins with `head`; None if it is not compressed."""
    return next((opener for magic, opener in OPENERS.items() if head.startswith(magic)), None)


def decompressed(opener: Opener, path: Path, size: int) -> Iterator[bytes]:
    """The decompressed content, at most `size` bytes at a time; `Unusable` if it is damaged or truncated."""
    try:
        with opener(path, "rb") as file:
            while piece := file.read(size):
                yield piece
    except (EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise Unusable(f"{path}: the compressed file is damaged or cut off ({error}): copy it again") from error
    except OSError as error:
        if error.errno is not None:  # an error of the disk, not of the content
            raise
        raise Unusable(f"{path}: the compressed file is damaged ({error}): copy it again") from error


def unpacked_head(opener: Opener, path: Path) -> bytes:
    """The first bytes of the decompressed content."""
    return next(decompressed(opener, path, HEAD_BYTES), b"")


def max_bytes(path: Path) -> int:
    """To how much a compressed file may unpack."""
    return min(MAX_BYTES, max(USUAL_BYTES, MAX_RATIO * path.stat().st_size))


def too_large(path: Path) -> Unusable:
    """The error for a file that unpacks to more."""
    if max_bytes(path) == MAX_BYTES:
        return Unusable(f"{path}: unpacks to more than {MAX_BYTES >> 30} GiB: unpack it manually")
    return Unusable(
        f"{path}: {path.stat().st_size:,} bytes that unpack to more than {max_bytes(path) >> 20:,} MiB, "
        "as hardly any recording does: exclude it, or unpack it manually if it is one"
    )


class Compressed(DeviceReader):
    """Decompresses a file and passes it to the reader of its content, under its name without the last suffix."""

    def __init__(self, inner: DeviceReader, opener: Opener) -> None:
        self.inner = inner
        self.opener = opener
        self.kind = f"{inner.kind}, compressed"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the first bytes of the content."""
        return self.inner.recognises(head, options)

    def label(self, path: Path) -> str | None:
        """The same as for the decompressed file."""
        return self.inner.label(self.bare(path))

    def settings(self, options: ReadOptions) -> dict[str, str]:
        """The same as for the decompressed file."""
        return self.inner.settings(options)

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the recordings in the content. Raises `HarnetError` if it is damaged or too large when decompressed."""
        with tempfile.TemporaryDirectory(prefix="harnet-") as folder:
            content = Path(folder) / self.bare(path).name
            self._unpack(path, content)
            with speaking_of(path, content):
                for found in self.inner.read(content, options):
                    # The label may come from the folder that holds the file, which the temporary copy is not in.
                    pieces = pieces_of(path, content, found.recording.pieces)
                    yield replace(
                        found,
                        recording=replace(found.recording, pieces=pieces),
                        label=self.label(path) or found.label,
                    )

    def _unpack(self, path: Path, content: Path) -> None:
        written, most = 0, max_bytes(path)
        with content.open("wb") as target:
            for piece in decompressed(self.opener, path, PIECE_BYTES):
                written += len(piece)
                if written > most:
                    raise too_large(path)
                try:
                    target.write(piece)
                except OSError as error:
                    raise HarnetError(
                        f"{path}: cannot be unpacked into {content.parent.parent} ({error.strerror}): "
                        "point TMPDIR to a disk with room"
                    ) from error

    def bare(self, path: Path) -> Path:
        """The path without .gz, .bz2 or the like; .tgz means .tar.gz."""
        suffix = path.suffix.lower()
        if suffix in (".tgz", ".tbz", ".tbz2"):
            return path.with_suffix(".tar")
        return path.with_suffix("") if suffix in (".gz", ".bz2", ".gzip") else path
