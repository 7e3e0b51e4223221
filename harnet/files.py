"""Atomic, durable file writes: a killed process leaves either the old file or the new one, never a partial one."""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harnet.owners import new_name

LACKING = (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ENOLCK)
"""Error numbers that file systems return for unsupported operations (Lustre without flock, exFAT, CIFS, FUSE)."""
_CLAIM = "claimed"
"""Name of the file inside a claimed folder."""


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable; without fsync a rename may be lost if the machine crashes."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        # File systems that cannot fsync a folder do not delay its entries; files themselves are always fsynced.
    finally:
        os.close(descriptor)


def fsync_tree(folder: Path) -> None:
    """Fsync `folder` and every file and folder below it."""
    for below, _, names in os.walk(folder, topdown=False):
        for name in names:
            with Path(below, name).open("rb") as file:
                os.fsync(file.fileno())
        fsync_folder(Path(below))


def publish(temporary: Path, final: Path) -> None:
    """Atomically and durably rename an already fsynced file or folder to its final name."""
    os.replace(temporary, final)
    fsync_folder(final.parent)


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; on success fsync it and rename it to `final`.

    On any exception, including Ctrl-C and a full disk, the temporary file is removed and `final` is left untouched.
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
    """Write a small file under a temporary name, fsync it and rename it to `final`."""
    with atomic_path(final) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def store_once(place: Path, content: str) -> str:
    """Store `content` at `place` unless something is stored there; return what is stored. Exactly one caller wins.

    `place` becomes a folder with one file: renaming onto a non-empty folder fails on every file system. Renaming onto
    an existing file succeeds silently, and hard links are not available everywhere.
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


def stored_once(place: Path) -> str | None:
    """The text that `store_once` stored at `place`, or None."""
    try:
        return (place / _CLAIM).read_text()
    except FileNotFoundError:
        return None
