"""What a shard folder holds, block by block: the one file that makes shards trustworthy.

A tar that was cut at a member boundary reads as fewer samples and no error, so nothing here is ever learnt by
scanning tars: the manifest says what must be there, and where. It is written last.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from numpy.typing import NDArray

from data_shards.shards.location import local_path
from harnet.errors import HarnetError
from harnet.files import atomic_path
from harnet.redaction import redacted

FILE_NAME = "manifest.parquet"
VERSION = 2
PURGE_MARK = ".purge"
"""Sub-folder that is there from the beginning of a purge until it is proven to be complete."""
WINDOW_SECONDS = (5, 10, 30)
"""Window lengths of harnet5, harnet10 and harnet30, whose possible starts the manifest counts."""

WindowSeconds = Literal[5, 10, 30]

_ABOUT, _SUM = b"harnet_manifest", b"harnet_manifest_xxh3"
"""In the file's metadata: what it says besides its rows, as JSON, and the xxh3-64 of that text."""
_SHARD_NAME = re.compile(r"(train|heldout)-[0-9]{6,}\.tar")

SCHEMA = pa.schema(
    [
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("length", pa.int32(), nullable=False),
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("participant", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("recording", pa.dictionary(pa.int32(), pa.string()), nullable=False),
        pa.field("hour", pa.int32(), nullable=False),
        pa.field("samples", pa.int32(), nullable=False),
        pa.field("wear_seconds", pa.int16(), nullable=False),
        pa.field("motion_mass", pa.float32(), nullable=False),
        *(pa.field(f"starts_{seconds}", pa.int16(), nullable=False) for seconds in WINDOW_SECONDS),
    ]
)
"""A row a block: index of its shard; byte range of its arrays and their xxh3-64; whose it is and when; number of
samples; seconds worn; sum over them of the per-second motion in g; window starts possible for each length."""


@dataclass(frozen=True)
class ShardInfo:
    """One tar file."""

    name: str
    """File name in the folder."""
    split: str
    """"train" or "heldout"."""
    bytes: int
    """Its exact size."""
    xxh3: str
    """xxh3-128 of the whole file, hexadecimal."""
    blocks: int
    """Number of samples in it."""

    def __post_init__(self) -> None:
        # A manifest may come from anywhere, and this name is joined to the folder.
        if not _SHARD_NAME.fullmatch(self.name) or self.name.split("-")[0] != self.split:
            raise HarnetError(
                f"{FILE_NAME} lists a shard {self.name!r} of split {self.split!r}, which `harnet shard` never writes: "
                "restore the manifest that belongs to these shards"
            )


@dataclass(frozen=True)
class Manifest:
    """A shard folder's table of contents: a NumPy array a column (see `SCHEMA`), in memory or mapped from a file."""

    location: str
    """Folder, or fsspec URL, of the shards."""
    digest: str
    """SHA-256 of the manifest file: names this exact corpus in checkpoints and published weights."""
    shards: tuple[ShardInfo, ...]
    """The files, in order; a block's `shard` indexes it."""
    columns: Mapping[str, NDArray[Any]]
    """Column name -> one value a block; participant and recording as codes into `participants`, `recordings`."""
    participants: tuple[str, ...]
    """Pseudonyms. Never logged, never exported."""
    recordings: tuple[str, ...]
    """Names of recordings."""
    provenance: Mapping[str, Any]
    """How the blocks were made: preprocessing, the split's salt, the digest of the plan."""

    @property
    def folder(self) -> Path:
        """The local folder of the shards, for what writes and verifies them."""
        return local_path(self.location)

    @property
    def where(self) -> str:
        """The location for messages: no password, no token."""
        return redacted(self.location.rstrip("/"))

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the blocks of one split."""
        wanted = np.array([shard.split == split for shard in self.shards])
        return np.flatnonzero(wanted[self.columns["shard"]]) if len(wanted) else np.empty(0, np.int64)

    def name_of(self, row: int) -> str:
        """A block in words, for messages, which end up in logs: where it is, and not whose. `harnet whose` tells.

        By its place in the file, which is the same whoever was left out of this manifest.
        """
        shard = self.shards[self.columns["shard"][row]].name
        return f"{self.where}/{shard}: block at byte {self.columns['offset'][row]}"

    def key_of(self, row: int) -> str:
        """A block's name inside its tar, without the member's ending."""
        return f"{self.recordings[self.columns['recording'][row]]}/{self.columns['hour'][row]}"

    def people(self, rows: NDArray[np.integer]) -> int:
        """How many participants the blocks are of."""
        return int((np.bincount(self.columns["participant"][rows]) > 0).sum()) if len(rows) else 0

    def person_days(self, rows: NDArray[np.integer]) -> int:
        """How many person-days the blocks are of."""
        days = self.person_day(rows)
        # Neighbours are mostly of one day: what is left to sort is a twentieth.
        return len(np.unique(days[np.flatnonzero(np.diff(days, prepend=-1))]))

    def person_day(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """A code for each block's participant and clock day."""
        day = self.columns["hour"][rows].astype(np.int64) // 24
        return self.columns["participant"][rows].astype(np.int64) * (1 << 32) + day

    def without(self, participants: frozenset[str]) -> "Manifest":
        """The manifest as if these people had never been in it, of another digest; itself if none of them is in it."""
        gone = [code for code, name in enumerate(self.participants) if name in participants]
        if not gone:
            return self
        kept = ~np.isin(self.columns["participant"], gone)
        recordings = set(np.unique(self.columns["recording"][kept]).tolist())
        return replace(
            self,
            digest=digest_without(self.digest, participants & frozenset(self.participants)),
            columns={name: values[kept] for name, values in self.columns.items()},
            participants=tuple("" if name in participants else name for name in self.participants),
            recordings=tuple(name if code in recordings else "" for code, name in enumerate(self.recordings)),
        )


def digest_without(digest: str, participants: frozenset[str]) -> str:
    """Names the corpus of a manifest less the blocks of these people, all of whom are in it."""
    return hashlib.sha256("\n".join([digest, *sorted(participants)]).encode()).hexdigest()


def write(folder: Path, table: pa.Table, shards: tuple[ShardInfo, ...], provenance: Mapping[str, Any]) -> None:
    """Write the manifest of a folder, atomically; `table` follows `SCHEMA`."""
    about = {"version": VERSION, "shards": [asdict(shard) for shard in shards], "provenance": dict(provenance)}
    table = table.unify_dictionaries().combine_chunks()
    for name in ("participant", "recording"):
        table = table.set_column(SCHEMA.get_field_index(name), SCHEMA.field(name), _compacted(table[name]))
    about["sums"] = {name: sum_of(*_values(table[name])) for name in SCHEMA.names}
    text = json.dumps(about, sort_keys=True, allow_nan=False)
    # Parquet's own checksums are of its pages alone: of what is said of the shards it has none.
    table = table.replace_schema_metadata({_ABOUT: text, _SUM: xxhash.xxh3_64_hexdigest(text.encode())})
    with atomic_path(folder / FILE_NAME) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _compacted(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A dictionary column without the names of rows that were taken out, which it would carry into the file."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    codes = array.indices.to_numpy()
    used = np.unique(codes)
    return pa.DictionaryArray.from_arrays(
        pa.array(np.searchsorted(used, codes), pa.int32()), array.dictionary.take(pa.array(used))
    )


def sum_of(values: NDArray[Any], names: Sequence[str] | None = None) -> str:
    """xxh3-64 of a column as it is used; of codes into `names`, whatever the order of the names."""
    found = xxhash.xxh3_64()
    if names is not None:
        order = sorted(range(len(names)), key=names.__getitem__)
        rank = np.empty(len(order), np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        found.update("\n".join(names[code] for code in order).encode())
        values = rank[values]
    found.update(np.ascontiguousarray(values).data)
    return found.hexdigest()


@contextmanager
def reading(named: str) -> Iterator[None]:
    """What pyarrow raises of a file that is none of its own, or not any more: some of it is OSError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise HarnetError(f"{named}: damaged, or not a manifest ({error}); run `harnet shard` again") from error


def refuse_if_purging(folder: Path) -> None:
    """Raise `HarnetError` if a purge of the folder was begun and is not complete: shards and manifest may differ."""
    if (folder / PURGE_MARK).exists():
        raise HarnetError(f"{folder}: a purge is running or was interrupted; run `harnet purge` with its list again")


def provenance(folder: Path) -> dict[str, Any]:
    """How the blocks of a folder were made, without reading their rows.

    Raises:
        HarnetError: the manifest is damaged, or the folder is being purged.
    """
    refuse_if_purging(folder)
    path = folder / FILE_NAME
    with path.open("rb") as file, reading(str(path)):
        schema = pq.read_schema(file)
    return parse_schema(schema, str(path)).provenance


def read(folder: Path) -> Manifest:
    """The manifest of a shard folder.

    Raises:
        HarnetError: there is none, or it is damaged or of another version, or the folder is being purged.
    """
    refuse_if_purging(folder)
    return load(folder)


def read_table(source: Path | pa.BufferReader) -> pa.Table:
    """A whole Parquet file, read in this thread.

    With Arrow's own threads one may still hold the source when the interpreter ends, which then aborts: of 240 runs of
    `harnet verify`, four said "all good" and exited with 134 (https://github.com/apache/arrow/issues/34314).
    """
    with pq.ParquetFile(source, pre_buffer=False) as file:
        return file.read(use_threads=False)


def load(folder: Path) -> Manifest:
    """`read` for those who purge: it also opens a folder whose shards may not be the manifest's at this moment."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise HarnetError(
            f"{folder}: no {FILE_NAME}; not a shard folder, or `harnet shard` did not finish: run it again"
        )
    content = path.read_bytes()
    with reading(str(path)):
        table = read_table(pa.BufferReader(content))
    about = parse_schema(table.schema, str(path))
    with reading(str(path)):
        found = {name: _values(table[name]) for name in SCHEMA.names}
    for name, values in found.items():
        about.check(name, *values)
    names = {name: (codes, tuple(known)) for name, (codes, known) in found.items() if known is not None}
    columns = {name: values for name, (values, known) in found.items() if known is None}
    return Manifest(
        location=str(folder),
        digest=hashlib.sha256(content).hexdigest(),
        shards=about.shards,
        columns=columns | {name: codes for name, (codes, _) in names.items()},
        participants=names["participant"][1],
        recordings=names["recording"][1],
        provenance=about.provenance,
    )


@dataclass(frozen=True)
class ManifestMetadata:
    """What a manifest says besides its rows."""

    shards: tuple[ShardInfo, ...]
    """The files."""
    provenance: dict[str, Any]
    """How the blocks were made."""
    sums: Mapping[str, str]
    """`sum_of` each column; empty in manifests of earlier versions."""
    named: str
    """The file, for messages."""

    def check(self, column: str, values: NDArray[Any], names: Sequence[str] | None = None) -> None:
        """Raise `HarnetError` unless a column is what was written."""
        if self.sums and self.sums[column] != sum_of(values, names):
            raise HarnetError(f"{self.named}: damaged, its column {column} has another checksum than was written; "
                              "restore the manifest, or run `harnet shard` again")  # fmt: skip


def parse_schema(schema: pa.Schema, named: str) -> ManifestMetadata:
    """Version, columns and metadata of a manifest file, checked.

    Raises:
        HarnetError: it is of another version, or no manifest.
    """
    metadata = schema.metadata or {}
    try:
        text = metadata[_ABOUT]
        about = json.loads(text)
        version, shards, provenance = about["version"], about["shards"], about["provenance"]
        if (sums := about.get("sums", {})) and metadata[_SUM].decode() != xxhash.xxh3_64_hexdigest(text):
            raise ValueError("what it says of the shards has another checksum than was written")
    except (KeyError, ValueError, TypeError) as error:
        raise HarnetError(f"{named}: damaged, or not a manifest ({error}); run `harnet shard` again") from error
    if version != VERSION:
        raise HarnetError(f"{named}: manifest version {version}, this harnet reads {VERSION}; shard again")
    if not schema.remove_metadata().equals(SCHEMA):
        raise HarnetError(f"{named}: columns {schema.names}, expected {SCHEMA.names}; run `harnet shard` again")
    return ManifestMetadata(tuple(ShardInfo(**shard) for shard in shards), provenance, sums, named)


def _values(column: pa.ChunkedArray) -> tuple[NDArray[Any], Sequence[str] | None]:
    """A column as an array; of a column of names, codes and the names."""
    if not pa.types.is_dictionary(column.type):
        return column.to_numpy(), None
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.array([], column.type) if array.num_chunks == 0 else array.chunk(0)
    return array.indices.to_numpy(), array.dictionary.to_pylist()
