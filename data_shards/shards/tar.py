"""Tar bytes that depend only on names and contents (POSIX.1-1988 ustar, as written by webdataset's TarWriter).

Does not use `tarfile.open`, whose stream mode, used by webdataset, copies every member many times in pieces of 10 KB
and would dominate the time of sharding. Headers come from the library.
"""

import tarfile

from data_shards.layout import LONGEST_NAME

RECORD = 512
"""Headers and contents start at multiples of 512 bytes."""

LONGEST_FOLDER = LONGEST_NAME
"""Maximum number of characters before the last slash of a name."""

_MODE = 0o444
_END = 2 * RECORD
"""An archive ends with two records of zeros."""
_ARCHIVE = 20 * RECORD
"""The length of an archive is a multiple of 20 records, the standard's blocking factor."""


def padded(size: int) -> int:
    """Size including the zeros that fill the last record."""
    return -(-size // RECORD) * RECORD


def header(name: str, size: int) -> bytes:
    """Header of a member; always one record.

    The modification time is the integer 0: a float would add a kilobyte to each member, and a real time would make the
    bytes depend on the clock.

    Raises:
        ValueError: the name is too long for one record; its folder may have `LONGEST_FOLDER` characters.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    return info.tobuf(tarfile.USTAR_FORMAT)


def member(name: str, content: bytes) -> bytes:
    """A complete member: header, content, padding."""
    return b"".join((header(name, len(content)), content, bytes(padded(len(content)) - len(content))))


def end(size: int) -> bytes:
    """End-of-archive bytes for members of `size` bytes in total."""
    return bytes(-(-(size + _END) // _ARCHIVE) * _ARCHIVE - size)
