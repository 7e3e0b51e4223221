"""Tar bytes that depend on nothing but names and contents (POSIX.1-1988 ustar, as webdataset's TarWriter writes it).

Written here rather than through `tarfile.open`, whose stream mode, the one that webdataset uses, copies every member
many times over in pieces of 10 KB and would take most of the time of sharding. Headers come from the library.
"""

import tarfile

from data_shards.layout import LONGEST_NAME

RECORD = 512
"""Headers and contents begin at multiples of 512 bytes."""

LONGEST_FOLDER = LONGEST_NAME
"""Characters of the part of a name before its last slash."""

_MODE = 0o444
_END = 2 * RECORD
"""An archive ends with two records of zeros,"""
_ARCHIVE = 20 * RECORD
"""and is as long as a multiple of 20 records, the blocking factor of the standard."""


def padded(size: int) -> int:
    """Size with the zeros that fill the last record."""
    return -(-size // RECORD) * RECORD


def header(name: str, size: int) -> bytes:
    """What stands before the content of a member; always one record.

    The time is the integer 0: a float would add a kilobyte to each member, and the clock would be part of the bytes.

    Raises:
        ValueError: the name is too long for one record; its folder may have `LONGEST_FOLDER` characters.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, _MODE
    return info.tobuf(tarfile.USTAR_FORMAT)


def member(name: str, content: bytes) -> bytes:
    """A whole member: header, content, padding."""
    return b"".join((header(name, len(content)), content, bytes(padded(len(content)) - len(content))))


def end(size: int) -> bytes:
    """What closes an archive whose members take `size` bytes."""
    return bytes(-(-(size + _END) // _ARCHIVE) * _ARCHIVE - size)
