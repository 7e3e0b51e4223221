"""One device file inside a .zip archive, such as an Empatica session.

A .gt3x is itself a zip archive and is read directly. Members are never extracted under their own names; nested archives
are not opened, unless they are .gt3x.
"""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from data_shards.readers.actigraph import LOGS, ActiGraph, archive_errors, bare_name
from data_shards.readers.compressed import Compressed, max_bytes, too_large
from data_shards.readers.containers import open_zip
from data_shards.readers.device_reader import EVIDENT, HEAD_BYTES, DeviceReader, ReadOptions, Unusable
from harnet.errors import HarnetError

MAGIC = b"PK\x03\x04"
MOST_MEMBERS = 1000
UNREAD = {b"\xfd7zXZ\0": "xz", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!\x1a\x07": "rar", b"\x28\xb5\x2f\xfd": "Zstandard"}
"""First bytes (of each format's specification) → name of archives that are not read."""
TAR_AT, TAR = 257, b"ustar"
"""Byte offset of the tag of a tar (POSIX.1-1988)."""


class Zipped(Compressed):
    """Reader of a zip archive with one device file; the recording is named after the archive."""

    def __init__(self, inner: DeviceReader, member: str) -> None:
        super().__init__(inner, lambda path, mode: _opened(path, member))
        self._suffix = Path(member).suffix

    def label(self, path: Path) -> str | None:
        """The archive's name, without .zip and without the suffix of the file inside."""
        bare = self.bare(path)
        return None if self.inner.label(bare) is None else bare.name.removesuffix(self._suffix) or bare.name

    def bare(self, path: Path) -> Path:
        """The path without .zip."""
        return path.with_suffix("") if path.suffix.lower() == ".zip" else path


def is_archive(head: bytes, path: Path) -> bool:
    """Whether a file is a zip archive whose directory can be read. Raises `HarnetError` if that is too long."""
    if not head.startswith(MAGIC):
        return False
    try:
        with open_zip(path):
            return True
    except HarnetError:
        raise
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False


def unread_archive(head: bytes) -> str | None:
    """The name of an archive's format if a file begins with `head` and such archives are not read."""
    if head.startswith(TAR, TAR_AT):
        return "tar"
    return next((name for magic, name in UNREAD.items() if head.startswith(magic)), None)


def archived(path: Path, readers: Sequence[DeviceReader], options: ReadOptions) -> DeviceReader:
    """The reader for the one device file in a zip archive, or for a .gt3x, which is an archive itself.

    Raises:
        HarnetError: there is none or more than one, or the archive is damaged, encrypted or too large.
    """
    with archive_errors(path), open_zip(path) as archive:
        members = archive.namelist()
        if any(bare_name(name) in LOGS for name in members):
            return next(reader for reader in readers if isinstance(reader, ActiGraph))
    found: list[tuple[DeviceReader, str]] = []
    others: list[str] = []
    for member, head in _heads(path):
        reader = next((reader for reader in readers if reader.recognises(head, options)), None)
        other_archive = isinstance(reader, ActiGraph) and not member.lower().endswith(".gt3x")
        if reader is None or other_archive:
            others.append(member)
        else:
            found.append((reader, member))
    if len(found) == 1:
        return Zipped(*found[0])
    if found:
        names = ", ".join(" ".join(Path(member).name.split()) for _, member in found[:3])
        raise Unusable(
            f"{path}: a zip archive of {len(found)} device files ({names}{', …' if len(found) > 3 else ''}): unpack it "
            "and ingest the folder"
        )
    nested = any(member.lower().endswith((".zip", ".gz", ".bz2", ".7z", ".rar")) for member in others)
    without = f"{path}: a zip archive without a device file that can be read in it ({len(others)} other files)"
    if nested:
        raise Unusable(f"{without}: nested archives are not unpacked: unpack them manually")
    if any(Path(name).suffix.lower() in EVIDENT for name in (path.name, *members)):
        raise Unusable(f"{without}: copy it again from the device, or exclude it")
    raise HarnetError(f"{without}: if it is a table, name --columns")


def _heads(path: Path) -> Iterator[tuple[str, bytes]]:
    """The name and the first bytes of each file in the archive."""
    with archive_errors(path), open_zip(path) as archive:
        members = [each for each in archive.infolist() if each.file_size and not _is_clutter(each.filename)]
        if len(members) > MOST_MEMBERS:
            raise Unusable(f"{path}: {len(members)} files in one zip archive: unpack it and ingest the folder")
        for member in members:
            if member.file_size > max_bytes(path):
                raise too_large(path)
            with archive.open(member) as file:
                yield member.filename, file.read(HEAD_BYTES)


def _is_clutter(name: str) -> bool:
    """Whether a member is a hidden file or one that macOS adds to archives."""
    return name.startswith("__MACOSX/") or name.rsplit("/", 1)[-1].startswith(".")


@contextmanager
def _opened(path: Path, member: str) -> Iterator[IO[bytes]]:
    """One file in an archive."""
    with open_zip(path) as archive, archive.open(member) as file:
        yield file
