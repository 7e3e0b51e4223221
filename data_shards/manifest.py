"""What a shard folder holds, block by block: the one file that makes shards trustworthy.

A tar that was cut at a member boundary reads as fewer samples and no error, so nothing here is ever learnt by
scanning tars: the manifest says what must be there, and where. It is written last.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harnet.errors import HarnetError
from harnet.files import atomic_path

FILE_NAME = "manifest.parquet"
VERSION = 1
WINDOW_SECONDS = (5, 10, 30)
"""Window lengths of harnet5, harnet10 and harnet30, whose possible starts the manifest counts."""

WindowSeconds = Literal[5, 10, 30]

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


@dataclass(frozen=True)
class Manifest:
    """A shard folder's table of contents, columns in memory as NumPy arrays (see `SCHEMA`)."""

    folder: Path
    """Where the shards are."""
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

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of the blocks of one split."""
        wanted = np.array([shard.split == split for shard in self.shards])
        return np.flatnonzero(wanted[self.columns["shard"]]) if len(wanted) else np.empty(0, np.int64)

    def name_of(self, row: int) -> str:
        """A block in words, for error messages."""
        shard = self.shards[self.columns["shard"][row]].name
        return f"{self.folder / shard}: block {self.key_of(row)}"

    def key_of(self, row: int) -> str:
        """A block's name inside its tar, without the member's ending."""
        return f"{self.recordings[self.columns['recording'][row]]}/{self.columns['hour'][row]}"

    def people(self, rows: NDArray[np.int64]) -> int:
        """How many participants the blocks are of."""
        return len(np.unique(self.columns["participant"][rows]))

    def person_days(self, rows: NDArray[np.int64]) -> int:
        """How many person-days the blocks are of."""
        return len(np.unique(self.person_day(rows)))

    def person_day(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """A code for each block's participant and clock day."""
        day = self.columns["hour"][rows].astype(np.int64) // 24
        return self.columns["participant"][rows].astype(np.int64) * (1 << 32) + day


def write(folder: Path, table: pa.Table, shards: tuple[ShardInfo, ...], provenance: Mapping[str, Any]) -> None:
    """Write the manifest of a folder, atomically; `table` follows `SCHEMA`."""
    about = {"version": VERSION, "shards": [asdict(shard) for shard in shards], "provenance": dict(provenance)}
    table = table.unify_dictionaries().combine_chunks()
    table = table.replace_schema_metadata({"harnet_manifest": json.dumps(about, sort_keys=True)})
    with atomic_path(folder / FILE_NAME) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read(folder: Path) -> Manifest:
    """The manifest of a shard folder.

    Raises:
        HarnetError: there is none, or it is damaged or of another version.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise HarnetError(
            f"{folder}: no {FILE_NAME}; not a shard folder, or `harnet shard` did not finish: run it again"
        )
    try:
        content = path.read_bytes()
        table = pq.read_table(pa.BufferReader(content))
        about = json.loads((table.schema.metadata or {})[b"harnet_manifest"])
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise HarnetError(f"{path}: damaged, or not a manifest ({error}); run `harnet shard` again") from error
    if about["version"] != VERSION:
        raise HarnetError(f"{path}: manifest version {about['version']}, this harnet reads {VERSION}; shard again")
    if not table.schema.remove_metadata().equals(SCHEMA):
        raise HarnetError(f"{path}: columns {table.schema.names}, expected {SCHEMA.names}; run `harnet shard` again")
    names = {name: _dictionary(table[name]) for name in ("participant", "recording")}
    columns = {name: table[name].to_numpy() for name in SCHEMA.names if name not in names}
    return Manifest(
        folder=folder,
        digest=hashlib.sha256(content).hexdigest(),
        shards=tuple(ShardInfo(**shard) for shard in about["shards"]),
        columns=columns | {name: codes for name, (codes, _) in names.items()},
        participants=names["participant"][1],
        recordings=names["recording"][1],
        provenance=about["provenance"],
    )


def _dictionary(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.array([], column.type) if array.num_chunks == 0 else array.chunk(0)
    return array.indices.to_numpy(), tuple(array.dictionary.to_pylist())
