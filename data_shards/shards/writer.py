"""Cohort store → tar shards and their manifest: same input, same bytes, whatever the number of workers and machines.

Processes that share only the file system may write one folder concurrently (`Part`). Each writes the missing shards of
its share; a shard's manifest rows appear in `.parts` only after the shard is in place. The process that finds all rows
there writes the manifest and deletes `.parts`. Two may do so at once: they write the same bytes, and the one that finds
`.parts` gone also finds the finished manifest.
"""

import errno
import json
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from data_shards.cohort.store import Cohort
from data_shards.layout import RATE, SECONDS_PER_HOUR
from data_shards.parallel import run_all
from data_shards.shards import manifest, tar
from data_shards.shards.block import Block, count_starts, encode, trim
from data_shards.shards.compression import Compression
from data_shards.shards.manifest import SCHEMA, WINDOW_SECONDS, ShardInfo
from data_shards.shards.shard_plan import CohortPlan, HoursInShard, ShardOptions, ShardPlan, plan_shards
from data_shards.shards.signal_hours import SignalHours
from harnet.errors import HarnetError
from harnet.files import atomic_path, store_once, stored_once
from harnet.parts import Part

PARTS = ".parts"
"""Sub-folder with the manifest rows of finished shards, until the manifest is written."""
_READERS = 16
"""Number of row files read concurrently."""


@dataclass(frozen=True)
class WriteResult:
    """Result of `write_shards`."""

    planned: CohortPlan
    """The plan of the finished folder."""
    missing: tuple[ShardPlan, ...]
    """Shards that other parts still have to write; empty if the folder is finished."""


def write_shards(
    cohort: Cohort,
    folder: Path,
    options: ShardOptions,
    workers: int = 1,
    part: Part | None = None,
    exclude: frozenset[str] = frozenset(),
) -> WriteResult:
    """Write or resume the shards of a cohort in `folder`, all or one part's share; writes the manifest if all are done.

    Raises:
        HarnetError: the folder contains other files, or the cohort cannot be sharded.
    """
    planned = plan_shards(cohort, options, exclude)
    share = planned.shards if part is None else part.of(planned.shards)
    try:
        _claim(folder, planned)
        # Checked before looking for the manifest: rows are deleted only once it exists.
        to_do = _without_rows(folder, share)
        if not _is_finished(folder, planned):
            work = partial(write_shard, cohort.root, folder, options.compression)
            run_all(work, to_do, workers, "shard", "shards", total=len(share))
        missing = _without_rows(folder, planned.shards)
        if not _is_finished(folder, planned):
            if missing:
                return WriteResult(planned, missing)
            _finish(folder, planned)
        _clean(folder)
    except FileNotFoundError:
        # Another process finished meanwhile and deleted what this one was reading or writing.
        if not _is_finished(folder, planned):
            raise
    return WriteResult(planned, ())


def write_shard(cohort_root: Path, folder: Path, compression: Compression, shard: ShardPlan) -> None:
    """Write one tar and its manifest rows; both appear only when complete."""
    cohort = Cohort.open(cohort_root)
    rows, size = [], 0
    with atomic_path(folder / shard.name) as temporary:
        with temporary.open("wb") as raw:
            file = HashedFile(raw)
            for piece in shard.pieces:
                for block in read_blocks(cohort, piece):
                    encoded = encode(block, compression)
                    place = {"offset": size + encoded.start, "length": encoded.length, "hash": encoded.digest}
                    rows.append({"shard": shard.number, **place, **_facts(block)})
                    file.write(encoded.content)
                    size += len(encoded.content)
            file.write(tar.end(size))
        info = ShardInfo(shard.name, shard.split, file.size, file.hash.hexdigest(), len(rows))
    write_rows(_rows_path(folder, shard), pa.Table.from_pylist(rows, SCHEMA), info)


class HashedFile:
    """A file that computes its hash while being written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.hash, self.size = file, xxhash.xxh3_128(), 0

    def write(self, content: bytes | memoryview) -> None:
        """Append bytes."""
        self._file.write(content)
        self.hash.update(content)
        self.size += len(content)


def read_blocks(cohort: Cohort, piece: HoursInShard) -> Iterator[Block]:
    """Yield the hours of a recording as blocks."""
    stored = cohort.open_recording(piece.recording)
    info, signal = stored.info, SignalHours(stored)
    motion = stored.read_motion().reshape(-1, SECONDS_PER_HOUR)
    wear = stored.read_wear().reshape(-1, SECONDS_PER_HOUR)
    for index in piece.hours.tolist():
        accel = signal.read(index)
        kept = trim(info.first_hour + index, accel)
        yield Block(
            participant=info.participant,
            recording=info.recording,
            hour=info.first_hour + index,
            first_second=kept.start,
            accel=accel[:, kept.start * RATE : kept.stop * RATE],
            motion=motion[index, kept],
            wear=wear[index, kept],
        )


def write_rows(path: Path, table: pa.Table, info: ShardInfo) -> None:
    """Store a shard's manifest rows until the manifest is written."""
    with atomic_path(path) as temporary:
        pq.write_table(table.replace_schema_metadata({"harnet_shard": json.dumps(asdict(info))}), temporary)


def read_rows(path: Path) -> tuple[pa.Table, ShardInfo]:
    """The inverse of `write_rows`."""
    table = manifest.read_table(path)
    return table, ShardInfo(**json.loads(table.schema.metadata[b"harnet_shard"]))


def _facts(block: Block) -> dict[str, Any]:
    """Values of a block's manifest row, besides its location."""
    starts = {f"starts_{seconds}": count_starts(block.wear, seconds) for seconds in WINDOW_SECONDS}
    return {
        "participant": block.participant,
        "recording": block.recording,
        "hour": block.hour,
        "samples": block.accel.shape[1],
        "wear_seconds": int(block.wear.sum()),
        "motion_mass": float(block.motion[block.wear == 1].sum(dtype="f8")),
        **starts,
    }


def _finish(folder: Path, planned: CohortPlan) -> None:
    # Thousands of small files: on a cluster's file system latency dominates, so many are read concurrently.
    with ThreadPoolExecutor(_READERS) as threads:
        tables, infos = zip(*threads.map(partial(_finished_rows, folder), planned.shards), strict=True)
    table = pa.concat_tables([table.replace_schema_metadata(None) for table in tables])
    manifest.write(folder, table, infos, planned.provenance)


def _finished_rows(folder: Path, shard: ShardPlan) -> tuple[pa.Table, ShardInfo]:
    table, info = read_rows(_rows_path(folder, shard))
    if (folder / info.name).stat().st_size != info.bytes:
        raise HarnetError(f"{folder / info.name}: modified during sharding; delete {folder} and run again")
    return table, info


def _claim(folder: Path, planned: CohortPlan) -> None:
    """Claim the folder for this plan, or check that it is claimed for it; of two concurrent claims one wins."""
    ours = planned.provenance["plan"]
    if folder.is_dir():
        others = [entry.name for entry in folder.iterdir() if entry.name != PARTS]
        # Checked after listing: another process of this plan marks the folder before writing anything else.
        if others and not (folder / PARTS / "plan").exists() and not (folder / manifest.FILE_NAME).exists():
            raise HarnetError(f"{folder}: contains files other than shards; choose an empty or new folder")
    elif folder.exists():
        raise HarnetError(f"{folder}: is a file; choose an empty or new folder")
    found = ours if _is_finished(folder, planned) else _mark(folder, ours)
    if found != ours:
        raise HarnetError(f"{folder}: holds shards of another cohort or other options; choose a new folder")


def _mark(folder: Path, plan_digest: str) -> str:
    """Write the plan's mark unless there is one; returns the existing mark."""
    mark = folder / PARTS / "plan"
    if mark.is_file():
        return mark.read_text()  # from an interrupted run of an older version
    return stored_once(mark) or store_once(mark, plan_digest)


def _without_rows(folder: Path, shards: Sequence[ShardPlan]) -> tuple[ShardPlan, ...]:
    there = {path.name for path in (folder / PARTS).glob("*.parquet")}
    return tuple(shard for shard in shards if _rows_path(folder, shard).name not in there)


def _is_finished(folder: Path, planned: CohortPlan) -> bool:
    """Whether the manifest exists; `HarnetError` if it belongs to another plan."""
    if not (folder / manifest.FILE_NAME).exists():
        return False
    if manifest.provenance(folder).get("plan") != planned.provenance["plan"]:
        raise HarnetError(f"{folder}: holds shards of another cohort or other options; choose a new folder")
    return True


def _clean(folder: Path) -> None:
    """Remove intermediate files, including partial files of killed runs; every shard is complete now."""
    parts = folder / PARTS
    for leftover in [*parts.glob("*"), *parts.glob(".*.tmp"), *folder.glob(".*.tmp")]:
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    try:
        parts.rmdir()
    except OSError as error:
        # Gone: another process was faster. Not empty: a late process will remove its own files.
        if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
            raise


def _rows_path(folder: Path, shard: ShardPlan) -> Path:
    return folder / PARTS / f"{shard.name}.parquet"
