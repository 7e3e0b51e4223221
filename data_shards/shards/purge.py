"""Removing people who withdrew from shards: rewrites shards with their blocks, then proves that nothing is left.

During a purge the folder contains the sub-folder `.purge` and cannot be opened (`manifest.refuse_if_purging`), because
shards and manifest may not match. `.purge` contains the journal (whom to remove) and, for each rewritten shard, the new
offsets of its blocks. The steps:

1. Write the journal. From here on, the next purge can finish a killed one from the journal alone.
2. Rewrite each shard that contains blocks of theirs, under the same name, copying the bytes of the other blocks. The
   new offsets are recorded just before the rename, so that either the old or the recorded shard exists.
3. Replace the manifest.
4. Search every byte in the folder (data_shards/shards/proof.py). Only if nothing is found is `.purge` removed.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
from numpy.typing import NDArray

from data_shards.cohort.store import Cohort
from data_shards.parallel import run_all
from data_shards.shards import manifest, tar
from data_shards.shards.block import digest
from data_shards.shards.manifest import PURGE_MARK, SCHEMA, ShardInfo
from data_shards.shards.proof import SearchResult, Traces, search_cohort, search_shards
from data_shards.shards.shard_rows import ShardRows, rows_by_shard
from data_shards.shards.writer import PARTS, HashedFile, read_rows, write_rows
from harnet.errors import HarnetError
from harnet.files import atomic_path, fsync_folder, write_atomically

JOURNAL = "journal.json"


@dataclass(frozen=True)
class PurgeResult:
    """Result of a purge; counts only."""

    recordings: int
    """Number of removed recordings."""
    blocks: int
    """Number of removed blocks (person-hours)."""
    rewritten: int
    """Number of rewritten shards."""
    removed: int
    """Number of deleted shards, which contained nothing else."""
    linked: int
    """Number of rewritten shards whose old bytes are still on this disk under another name (hard link)."""
    searched: SearchResult
    """The proof."""


@dataclass(frozen=True)
class _Journal:
    """Everything needed to finish a purge."""

    digest: str
    """Digest of the old manifest."""
    ids: list[str]
    """All requested ids."""
    recordings: list[str]
    """Names of their recordings in the shards."""
    hashes: list[int]
    """Hashes of their blocks."""
    linked: int
    """Number of affected shards with another hard link."""


def purge_cohort(cohort: Cohort, ids: frozenset[str]) -> PurgeResult:
    """Remove the recordings of `ids` from a cohort store, and search for remains."""
    recordings = [info.recording for info in cohort.infos() if info.participant in ids]
    cohort.remove(recordings, ids)
    searched = search_cohort(cohort.root, Traces(ids, frozenset(recordings)))
    return PurgeResult(len(recordings), 0, 0, 0, 0, searched)


def purge_shards(folder: Path, ids: frozenset[str], workers: int = 1) -> PurgeResult:
    """Remove the blocks of `ids` from a shard folder, or finish an interrupted purge, and prove it.

    Raises:
        HarnetError: it is not a shard folder, a shard is a link, or a block to keep is damaged.
    """
    journal = _read_journal(folder)
    if journal is not None:
        finished = _finish(folder, journal, workers)
        if finished.searched.found or ids <= set(journal.ids):
            return finished
    journal = _begin(folder, ids)
    if journal is None:
        _remove_leftovers(folder)
        searched = search_shards(folder, Traces(ids), workers)
        if not searched.found and (folder / PURGE_MARK).exists():
            _open_again(folder)  # killed before the journal was written, or when only the empty folder was left
        return PurgeResult(0, 0, 0, 0, 0, searched)
    return _finish(folder, journal, workers)


def _begin(folder: Path, ids: frozenset[str]) -> _Journal | None:
    """Close the folder and write the journal; None if there is nothing to do."""
    contents = manifest.load(folder)
    theirs = _theirs(contents.participants, contents.columns["participant"], ids)
    if not theirs.any():
        return None
    touched = [folder / contents.shards[number].name for number in np.unique(contents.columns["shard"][theirs])]
    for path in touched:
        if path.is_symlink():
            raise HarnetError(f"{path}: is a link; purge the folder it points to, or replace it by the file itself")
        if not path.is_file():
            raise HarnetError(f"{path}: missing; fix the folder as `harnet verify` advises, then purge")
    codes = np.unique(contents.columns["recording"][theirs]).tolist()
    journal = _Journal(
        digest=contents.digest,
        ids=sorted(ids),
        recordings=[contents.recordings[code] for code in codes],
        hashes=contents.columns["hash"][theirs].tolist(),
        linked=sum(path.stat().st_nlink > 1 for path in touched),
    )
    (folder / PURGE_MARK).mkdir(mode=0o700, exist_ok=True)
    write_atomically(folder / PURGE_MARK / JOURNAL, json.dumps(asdict(journal)))
    fsync_folder(folder)
    return journal


def _finish(folder: Path, journal: _Journal, workers: int) -> PurgeResult:
    """Steps 2 to 4."""
    contents = manifest.load(folder)
    if contents.digest == journal.digest:
        theirs = _theirs(contents.recordings, contents.columns["recording"], journal.recordings)
        shards = [shard for shard in rows_by_shard(contents) if theirs[shard.rows].any()]
        work = [(shard, ~theirs[shard.rows]) for shard in shards]
        run_all(partial(_rewrite, folder), work, workers, "purge", "shards")
        _write_manifest(folder, contents, theirs, journal)
    _remove_leftovers(folder)
    infos = [read_rows(path)[1] for path in sorted((folder / PURGE_MARK).glob("*.parquet"))]
    traces = Traces(frozenset(journal.ids), frozenset(journal.recordings), frozenset(journal.hashes))
    searched = search_shards(folder, traces, workers)
    if not searched.found:
        _open_again(folder)
    return PurgeResult(
        recordings=len(journal.recordings),
        blocks=len(journal.hashes),
        rewritten=sum(info.blocks > 0 for info in infos),
        removed=sum(info.blocks == 0 for info in infos),
        linked=journal.linked,
        searched=searched,
    )


def _rewrite(folder: Path, work: tuple[ShardRows, NDArray[np.bool_]]) -> None:
    """Rewrite one shard with the blocks to keep, unless that was already done."""
    shard, stays = work
    path, noted = folder / shard.info.name, folder / PURGE_MARK / f"{shard.info.name}.parquet"
    if noted.exists() and _is(path, read_rows(noted)[1]):
        return
    with path.open("rb") as old, atomic_path(path) as temporary:
        with temporary.open("wb") as raw:
            new = HashedFile(raw)
            offsets = _copy(old, new, shard, stays, path)
            new.write(tar.end(new.size))
        blocks = len(offsets)
        info = replace(shard.info, bytes=new.size, xxh3=new.hash.hexdigest(), blocks=blocks)
        info = info if blocks else replace(info, bytes=0, xxh3="")
        write_rows(noted, pa.table({"row": shard.rows[stays], "offset": pa.array(offsets, pa.int64())}), info)
    if not blocks:
        path.unlink()
        fsync_folder(folder)


def _copy(old: Any, new: HashedFile, shard: ShardRows, stays: NDArray[np.bool_], path: Path) -> list[int]:
    """Copy the samples to keep, byte for byte; returns the offsets of their ranges."""
    offsets, begin = [], 0
    for place, (start, length) in enumerate(zip(shard.offset.tolist(), shard.length.tolist(), strict=True)):
        end = start + tar.padded(length)
        if stays[place]:
            old.seek(begin)
            content = old.read(end - begin)
            content_range = memoryview(content)[start - begin : start - begin + length]
            if len(content) != end - begin or digest(content_range) != shard.hash[place]:
                raise HarnetError(
                    f"{path}: {shard.name(place)} is damaged; copy this shard again from an intact folder, then "
                    "purge again"
                )
            offsets.append(new.size + start - begin)
            new.write(content)
        begin = end
    return offsets


def _write_manifest(folder: Path, contents: manifest.Manifest, theirs: NDArray[np.bool_], journal: _Journal) -> None:
    """Replace the manifest by one of the remaining blocks, with their new offsets."""
    table = manifest.read_table(folder / manifest.FILE_NAME)
    offsets = table["offset"].to_numpy().copy()
    infos = {shard.name: shard for shard in contents.shards}
    for path in sorted((folder / PURGE_MARK).glob("*.parquet")):
        rows, info = read_rows(path)
        offsets[rows["row"].to_numpy()] = rows["offset"].to_numpy()
        infos[info.name] = info
    left = [shard.name for shard in contents.shards if infos[shard.name].blocks]
    number = {name: place for place, name in enumerate(left)}
    numbers = np.array([number.get(shard.name, -1) for shard in contents.shards], np.int32)[table["shard"].to_numpy()]
    for name, values in (("offset", offsets), ("shard", numbers)):
        field = SCHEMA.field(name)
        table = table.set_column(SCHEMA.get_field_index(name), field, pa.array(values, field.type))
    before = contents.provenance.get("purged") or {"recordings": 0, "blocks": 0}
    purged = {
        "recordings": before["recordings"] + len(journal.recordings),
        "blocks": before["blocks"] + len(journal.hashes),
    }
    shards = tuple(infos[name] for name in left)
    manifest.write(folder, table.filter(pa.array(~theirs)), shards, {**contents.provenance, "purged": purged})


def _theirs(names: Iterable[str], codes: NDArray[Any], wanted: Iterable[str]) -> NDArray[np.bool_]:
    """Mask of the rows whose code refers to one of the wanted names."""
    among = frozenset(wanted)
    return np.array([name in among for name in names], bool)[codes]


def _is(path: Path, info: ShardInfo) -> bool:
    """Whether the shard has already been rewritten."""
    if not info.blocks:
        return not path.exists()
    if path.stat().st_size != info.bytes:
        return False
    with path.open("rb") as file:
        whole = xxhash.xxh3_128()
        for piece in iter(partial(file.read, 1 << 20), b""):
            whole.update(piece)
    return whole.hexdigest() == info.xxh3


def _read_journal(folder: Path) -> _Journal | None:
    path = folder / PURGE_MARK / JOURNAL
    return _Journal(**json.loads(path.read_bytes())) if path.exists() else None


def _remove_leftovers(folder: Path) -> None:
    """Remove partially written files of killed runs, which may contain anyone's blocks."""
    for path in [*folder.glob(".*.tmp"), *(folder / PURGE_MARK).glob(".*.tmp")]:
        path.unlink()
    if (folder / PARTS).exists():
        shutil.rmtree(folder / PARTS)


def _open_again(folder: Path) -> None:
    """Remove the journal, which contains the ids, last; then the folder can be opened."""
    mark = folder / PURGE_MARK
    for path in mark.iterdir():
        if path.name != JOURNAL:
            path.unlink()
    (mark / JOURNAL).unlink(missing_ok=True)
    mark.rmdir()
    fsync_folder(folder)
    assert not os.path.lexists(mark)
