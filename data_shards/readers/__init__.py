"""Device files → `Recording`: one module per device, selected by the file's content.

To add a device, write a module with a `DeviceReader` and add it to `READERS`.
"""

import stat
from collections.abc import Iterator
from pathlib import Path

from data_shards.readers.actigraph import ActiGraph
from data_shards.readers.actilife import ActiLife
from data_shards.readers.archive import MAGIC, archived, is_archive, unread_archive
from data_shards.readers.axivity import Axivity
from data_shards.readers.compressed import Compressed, opener_of, unpacked_head
from data_shards.readers.device_reader import (
    EVIDENT,
    HEAD_BYTES,
    DeviceReader,
    Found,
    FoundLoaded,
    ReadOptions,
    Units,
    Unusable,
)
from data_shards.readers.empatica import Empatica
from data_shards.readers.geneactiv import GENEActiv
from data_shards.readers.matrix import Matrix
from data_shards.readers.nhanes import Nhanes
from data_shards.readers.parquet import Parquet
from data_shards.readers.seglearn import Seglearn
from data_shards.readers.table import Table
from harnet.errors import HarnetError

__all__ = [
    "HEAD_BYTES",
    "READERS",
    "DeviceReader",
    "Found",
    "FoundLoaded",
    "ReadOptions",
    "Units",
    "head_of",
    "load",
    "read",
    "reader_for",
]

READERS: tuple[DeviceReader, ...] = (
    Axivity(),
    GENEActiv(),
    ActiGraph(),
    Matrix(),
    Nhanes(),
    ActiLife(),
    Empatica(),
    Seglearn(),
    Parquet(),
    Table(),
)
"""Readers in the order in which they are tried: the strictest first, tables with named columns last."""


SUFFIXES = {".cwa", ".gt3x", ".bin", ".gz", ".bz2", ".zip"}
"""Suffixes of recordings. They matter only for an empty or blank file, whose content does not show whether it was one;
an empty .csv is usual: an E4's tags.csv if its wearer never pressed the button."""


def head_of(path: Path) -> bytes:
    """The first bytes of a file, which identify its format; `HarnetError` for a pipe or the like."""
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # opening a pipe may block forever
        raise HarnetError(f"{path}: a pipe, socket or device: write its content to a file, and pass that")
    with path.open("rb") as file:
        return file.read(HEAD_BYTES)


def reader_for(path: Path, options: ReadOptions) -> DeviceReader:
    """The reader that recognises this file's first bytes; `HarnetError` if none does."""
    head = head_of(path)
    if is_archive(head, path):
        return archived(path, READERS, options)
    bare, opener = path, opener_of(head)
    if opener is not None:
        bare, head = path.with_suffix(""), unpacked_head(opener, path)
    if not head.strip(b"\0"):
        refusal = Unusable if bare.suffix.lower() in SUFFIXES else HarnetError
        what = "blank file (zeros)" if head else "empty file (0 bytes)"
        raise refusal(f"{path}: {what}: copy it again from the device, or exclude it")
    for reader in READERS:
        if reader.recognises(head, options):
            return reader if opener is None else Compressed(reader, opener)
    if opener is not None and (head.startswith(MAGIC) or opener_of(head)):
        raise Unusable(f"{path}: an archive inside another one: nested archives are not unpacked: unpack it manually")
    if head.startswith(MAGIC):
        raise Unusable(f"{path}: the zip archive is damaged or cut off: copy it again, or exclude it")
    if (kind := unread_archive(head)) is not None:
        raise Unusable(f"{path}: an archive ({kind}) that may hold recordings: unpack it, and ingest the folder")
    kinds = ", ".join(reader.kind for reader in READERS)
    hint = f"; {found}" if (found := Table.hint(head, options.columns)) else ""
    refusal = Unusable if bare.suffix.lower() in EVIDENT else HarnetError
    raise refusal(f"{path}: not a known device file{hint}; known are: {kinds}")


def read(path: Path, options: ReadOptions | None = None) -> Iterator[Found]:
    """Yield every recording in a device file; read the samples of one before requesting the next.

    Raises `HarnetError` (one line) for an empty, unknown or unreadable file.
    """
    options = options or ReadOptions()
    yield from reader_for(path, options).read(path, options)


def load(path: Path, options: ReadOptions | None = None) -> Iterator[FoundLoaded]:
    """Like `read`, but yields each recording in memory: 20 bytes per sample."""
    for found in read(path, options):
        yield FoundLoaded(found.recording.load(), found.label, found.participant)
