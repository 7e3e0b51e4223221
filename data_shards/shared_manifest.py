"""A manifest for training: converted to plain arrays once a node, mapped by all of its processes.

The columns of 16.8 million blocks are 870 MB. Mapped, the pages that are touched are there once a node, and a column
that is not needed is not read.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from data_shards.location import is_remote, local_path
from data_shards.manifest import FILE_NAME, SCHEMA, Manifest, digest_without, parse_schema, refuse_if_purging
from data_shards.node_cache import Entry, NodeCache
from data_shards.remote import Remote, RemoteOptions
from data_shards.storage import Missing
from harnet.errors import HarnetError

_NAMES = ("participant", "recording")
_VERSION = 1
"""Of the layout of a converted manifest."""
_PIECE = 1 << 26
"""Bytes of a remote manifest that are fetched, and if need be fetched again, at a time."""


class MappedColumns(Mapping[str, NDArray[Any]]):
    """Columns of a manifest, each mapped on first use; light to send to another process of the node."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._mapped: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._mapped:
            if name not in SCHEMA.names:
                raise KeyError(name)
            self._mapped[name] = self._entry.array(name)
        return self._mapped[name]

    def __iter__(self) -> Iterator[str]:
        return iter(SCHEMA.names)

    def __len__(self) -> int:
        return len(SCHEMA.names)

    def __reduce__(self) -> tuple[type["MappedColumns"], tuple[Entry]]:
        return MappedColumns, (self._entry,)


def open_manifest(
    location: str, cache: NodeCache, without: frozenset[str] = frozenset(), remote: RemoteOptions | None = None
) -> Manifest:
    """The manifest of a shard folder, local or remote, without the blocks of some people.

    Raises:
        HarnetError: there is none, or it is damaged or of another version, or the folder is being purged.
    """
    if is_remote(location):
        return _open_remote(location, cache, without, remote or RemoteOptions())
    folder = local_path(location)
    refuse_if_purging(folder)
    path = folder / FILE_NAME
    if not path.is_file():
        raise HarnetError(_none(str(folder)))
    return _from_file(path, path.open("rb"), location, cache, without)


def _open_remote(location: str, cache: NodeCache, without: frozenset[str], options: RemoteOptions) -> Manifest:
    files = Remote(location, options)
    try:
        size = int(files.info(FILE_NAME)["size"])
        content = b"".join(files.fetch(FILE_NAME, start, min(_PIECE, size - start)) for start in range(0, size, _PIECE))
    except Missing:
        raise HarnetError(_none(files.where("").rstrip("/"))) from None
    return _from_file(files.where(FILE_NAME), io.BytesIO(content), location, cache, without)


def _none(where: str) -> str:
    return f"{where}: no {FILE_NAME}; not a shard folder, or `harnet shard` did not finish: run it again"


def _from_file(
    named: object,
    opened: io.BufferedReader | io.BytesIO,
    location: str,
    cache: NodeCache,
    without: frozenset[str],
) -> Manifest:
    with opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
        try:
            file = pq.ParquetFile(opened)
        except (pa.ArrowException, ValueError) as error:
            raise HarnetError(f"{named}: damaged, or not a manifest ({error}); run `harnet shard` again") from error
        about = parse_schema(file.schema_arrow, str(named))
        gone = hashlib.sha256("\n".join(sorted(without)).encode()).hexdigest()[:16]
        key = f"manifest-{_VERSION}-{digest[:32]}-{gone}"
        entry = cache.get(key, lambda folder: _convert(file, folder, str(named), without))
    present = frozenset(entry.facts["without"])
    return Manifest(
        location=location,
        digest=digest_without(digest, present) if present else digest,
        shards=about.shards,
        columns=MappedColumns(entry),
        participants=tuple(entry.facts["participant"]),
        recordings=tuple(entry.facts["recording"]),
        provenance=about.provenance,
    )


def _convert(file: pq.ParquetFile, folder: Path, named: str, without: frozenset[str]) -> Mapping[str, Any]:
    """Write the columns as .npy files, one at a time, less the rows of some people; return the names."""
    try:
        participants, codes = _dictionary(file, "participant")
        present = sorted(without & frozenset(participants))
        gone = [code for code, name in enumerate(participants) if name in without]
        kept = ~np.isin(codes, gone) if gone else slice(None)
        np.save(folder / "participant.npy", codes[kept])
        recordings, codes = _dictionary(file, "recording")
        np.save(folder / "recording.npy", codes[kept])
        left = frozenset(np.unique(codes[kept]).tolist()) if gone else frozenset(range(len(recordings)))
        for name in SCHEMA.names:
            if name not in _NAMES:
                np.save(folder / f"{name}.npy", file.read(columns=[name])[name].to_numpy()[kept])
    except pa.ArrowException as error:
        raise HarnetError(f"{named}: damaged ({error}); restore it, or run `harnet shard` again") from error
    return {
        "without": present,
        "participant": ["" if name in without else name for name in participants],
        "recording": [name if code in left else "" for code, name in enumerate(recordings)],
    }


def _dictionary(file: pq.ParquetFile, name: str) -> tuple[list[str], NDArray[np.int32]]:
    """Names, and one code into them a row; row groups may have dictionaries of their own."""
    column = file.read(columns=[name]).unify_dictionaries()[name]
    chunks = column.chunks
    names = chunks[0].dictionary.to_pylist() if chunks else []
    return names, np.concatenate([chunk.indices.to_numpy() for chunk in chunks] or [np.empty(0, np.int32)])
