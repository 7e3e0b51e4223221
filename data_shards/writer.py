"""Cohort store → tar shards and their manifest: same input, same bytes, whatever the number of workers.

The plan says which block goes into which shard before anything is written, so that shards can be written in any
order, by any process, and a run that was killed goes on with the shards that are missing.
"""

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset as wds
import xxhash

from data_shards import manifest
from data_shards.block import Block, digest, range_length, to_sample, trim, window_starts
from data_shards.cohort import Cohort
from data_shards.layout import RATE
from data_shards.manifest import SCHEMA, WINDOW_SECONDS, ShardInfo
from data_shards.parallel import run_all
from data_shards.split import Split, split_of
from harnet.errors import HarnetError
from harnet.files import atomic_path, write_atomically

PARTS = ".parts"
"""Sub-folder of finished shards' rows of the manifest, while the manifest is not written yet."""


@dataclass(frozen=True)
class ShardOptions:
    """What decides the bytes of a shard folder, besides the cohort."""

    blocks_per_shard: int = 1500
    """Person-hours in a tar; 1,500 full hours are about 1 GB."""
    split_salt: str = ""
    """Another salt holds out other people; see data_shards/split.py."""

    def __post_init__(self) -> None:
        if self.blocks_per_shard < 1:
            raise HarnetError(f"blocks_per_shard is {self.blocks_per_shard}; it must be at least 1")


@dataclass(frozen=True)
class PlannedBlock:
    """One hour of one recording."""

    recording: str
    """Name in the cohort."""
    index: int
    """Hour since the start of the recording's first hour."""


@dataclass(frozen=True)
class ShardPlan:
    """One tar file to write."""

    name: str
    """File name."""
    split: Split
    """Whose blocks it holds."""
    blocks: tuple[PlannedBlock, ...]
    """In the order of the file."""


@dataclass(frozen=True)
class CohortPlan:
    """All tar files of a cohort."""

    shards: tuple[ShardPlan, ...]
    """In the order of the manifest."""
    provenance: dict[str, Any]
    """What goes into the manifest beside the blocks, the plan's own digest included."""
    hours_not_worn: int
    """Hours of the cohort that hold no worn second and are left out."""


def plan(cohort: Cohort, options: ShardOptions) -> CohortPlan:
    """Which hour goes where: every hour with at least one worn second, recordings in order of name.

    Raises:
        HarnetError: the cohort holds no recording or no worn hour, or recordings of different preprocessing.
    """
    blocks: dict[Split, list[PlannedBlock]] = {"train": [], "heldout": []}
    sources, preprocessing, not_worn = [], {}, 0
    for recording in cohort.recordings():
        info = cohort.info(recording)
        worn = np.flatnonzero(info.worn_seconds_by_hour).tolist()
        blocks[split_of(info.participant, options.split_salt)] += [PlannedBlock(recording, index) for index in worn]
        not_worn += info.hours - len(worn)
        sources.append([recording, info.participant, info.source, info.preprocessing])
        preprocessing[json.dumps(info.preprocessing, sort_keys=True)] = recording
    if len(preprocessing) > 1:
        raise HarnetError(
            f"{cohort.root}: recordings {' and '.join(list(preprocessing.values())[:2])} were ingested with different "
            "settings; ingest them into a new cohort with the same ones"
        )
    if not any(blocks.values()):
        raise HarnetError(f"{cohort.root}: no worn hour in any of its {len(sources)} recordings; nothing to shard")
    settings = json.dumps([sources, asdict(options), manifest.VERSION], sort_keys=True)
    provenance = {
        "plan": hashlib.sha256(settings.encode()).hexdigest(),
        "options": asdict(options),
        "preprocessing": json.loads(next(iter(preprocessing))),
    }
    shards = tuple(shard for split, of_split in blocks.items() for shard in _cut(split, of_split, options))
    return CohortPlan(shards, provenance, not_worn)


def _cut(split: Split, blocks: list[PlannedBlock], options: ShardOptions) -> Iterable[ShardPlan]:
    for number, start in enumerate(range(0, len(blocks), options.blocks_per_shard)):
        yield ShardPlan(f"{split}-{number:06d}.tar", split, tuple(blocks[start : start + options.blocks_per_shard]))


def write(cohort: Cohort, folder: Path, options: ShardOptions, workers: int = 1) -> CohortPlan:
    """Write, or go on writing, the shards and the manifest of a cohort into `folder`.

    Raises:
        HarnetError: the folder holds something else, or the cohort cannot be sharded.
    """
    planned = plan(cohort, options)
    _claim(folder, planned)
    if (folder / manifest.FILE_NAME).exists():
        return planned
    missing = [shard for shard in planned.shards if not _part(folder, shard).exists()]
    work = partial(write_shard, cohort.root, folder)
    run_all(work, missing, workers, "shard", "shards", total=len(planned.shards))
    tables = [pq.read_table(_part(folder, shard)) for shard in planned.shards]
    infos = tuple(ShardInfo(**json.loads(table.schema.metadata[b"harnet_shard"])) for table in tables)
    for number, (table, info) in enumerate(zip(tables, infos, strict=True)):
        if (folder / info.name).stat().st_size != info.bytes:
            raise HarnetError(f"{folder / info.name}: changed while sharding; delete {folder} and run again")
        numbers = pa.array(np.full(info.blocks, number, np.int32))
        tables[number] = table.set_column(0, SCHEMA.field("shard"), numbers).cast(SCHEMA)
    manifest.write(folder, pa.concat_tables(tables), infos, planned.provenance)
    _clean(folder)
    return planned


def write_shard(cohort_root: Path, folder: Path, shard: ShardPlan) -> None:
    """Write one tar and its rows of the manifest; both appear only when complete."""
    cohort = Cohort.open(cohort_root)
    with atomic_path(folder / shard.name) as temporary:
        rows = []
        # Integer mtime: a float one adds a 1,024-byte pax header to each member and the clock to the bytes.
        with temporary.open("wb") as file, wds.TarWriter(file, encoder=False, mtime=0, user="", group="") as tar:
            for planned in shard.blocks:
                block = read_block(cohort, planned)
                tar.write(to_sample(block))
                rows.append(_row(block))
        info = _locate(temporary, shard, rows)
    table = pa.Table.from_pylist(rows, SCHEMA).replace_schema_metadata({"harnet_shard": json.dumps(asdict(info))})
    with atomic_path(_part(folder, shard)) as temporary:
        pq.write_table(table, temporary)


def read_block(cohort: Cohort, planned: PlannedBlock) -> Block:
    """One hour of the cohort as a block."""
    info = cohort.info(planned.recording)
    hour = cohort.read_hours(planned.recording, planned.index, planned.index + 1)
    kept = trim(info.first_hour + planned.index, hour.accel, hour.motion, hour.wear)
    samples = slice(kept.start * RATE, kept.stop * RATE)
    return Block(
        participant=info.participant,
        recording=info.recording,
        hour=info.first_hour + planned.index,
        first_second=kept.start,
        accel=hour.accel[:, samples],
        motion=hour.motion[kept],
        wear=hour.wear[kept],
    )


def _row(block: Block) -> dict[str, Any]:
    starts = {f"starts_{seconds}": len(window_starts(block.wear, seconds)) for seconds in WINDOW_SECONDS}
    return {
        "shard": 0,
        "participant": block.participant,
        "recording": block.recording,
        "hour": block.hour,
        "samples": block.accel.shape[1],
        "wear_seconds": int(block.wear.sum()),
        "motion_mass": float(block.motion[block.wear == 1].sum(dtype=np.float64)),
        **starts,
    }


def _locate(path: Path, shard: ShardPlan, rows: list[dict[str, Any]]) -> ShardInfo:
    """Fill offset, length and hash of each row from the tar as it lies on the disk."""
    with tarfile.open(path) as tar:
        starts = [member.offset_data for member in tar if member.name.endswith(".accel.npy")]
    assert len(starts) == len(rows)
    content = np.memmap(path, np.uint8, "r")
    for row, start in zip(rows, starts, strict=True):
        length = range_length(row["samples"])
        row |= {"offset": start, "length": length, "hash": digest(content[start : start + length].data)}
    return ShardInfo(shard.name, shard.split, len(content), xxhash.xxh3_128_hexdigest(content.data), len(rows))


def _claim(folder: Path, planned: CohortPlan) -> None:
    """Make the folder, or make sure that it holds this very plan."""
    mark = folder / PARTS / "plan"
    found = None
    if (folder / manifest.FILE_NAME).exists():
        found = manifest.read(folder).provenance.get("plan")
    elif mark.exists():
        found = mark.read_text()
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise HarnetError(f"{folder}: holds something else than shards; choose an empty or new folder")
    else:
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(mark, planned.provenance["plan"])
        return
    if found != planned.provenance["plan"]:
        raise HarnetError(f"{folder}: holds shards of another cohort or other options; choose a new folder")


def _clean(folder: Path) -> None:
    """Remove what was needed on the way, half-written files of killed runs included: every shard is complete now."""
    shutil.rmtree(folder / PARTS)
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink()


def _part(folder: Path, shard: ShardPlan) -> Path:
    return folder / PARTS / f"{shard.name}.parquet"
