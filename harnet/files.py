"""Writing files so that a killed process leaves the old file or the new one, never half of one."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harnet.owners import new_name

LACKING = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENOLCK)
"""What file systems say of an operation that they do not have (Lustre without flock, exFAT, CIFS, FUSE)."""
_CLAIM = "claimed"
"""File in a folder that is claimed."""


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable; a rename alone may be lost with the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        # Nothing is written late where a folder cannot be flushed; of files, fsync is never left out.
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Flush `folder` and every file and folder below it to disk."""
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            with Path(below, name).open("rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(below))


def publish(temporary: Path, final: Path) -> None:
    """Rename a flushed file or folder to its final name, durably."""
    os.replace(temporary, final)
    fsync_folder(final.parent)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; on success flush it and rename it to `final`.

    On any exception, ctrl-C and a full disk included, the temporary file is removed and `final` is untouched.
    """
    temporary = final.with_name(f".{final.name}.{new_name()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        publish(temporary, final)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(final: Path, content: bytes | str) -> None:
    """Write a whole small file under a temporary name and rename it to `final`."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def claim(place: Path, content: str) -> str:
    """Keep a text under a name unless one is there; return the one that is there. Of many that come at once, one wins.

    `place` becomes a folder with one file: renaming a folder fails, everywhere, if the name is taken by one that is not
    empty. Renaming a file does not, and hard links are not to be had on every file system.
    """
    candidate = place.with_name(f"{place.name}-{uuid.uuid4().hex}")
    candidate.mkdir(parents=True)
    try:
        write_atomically(candidate / _CLAIM, content)
        os.rename(candidate, place)
        fsync_folder(place.parent)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
    finally:
        shutil.rmtree(candidate, ignore_errors=True)
    return (place / _CLAIM).read_text()


def claimed(place: Path) -> str | None:
    """The text that was kept under a name, if there is one."""
    try:
        return (place / _CLAIM).read_text()
    except FileNotFoundError:
        return None
