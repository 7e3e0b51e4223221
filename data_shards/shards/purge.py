"""Taking people who withdrew out of shards: rewrite those that hold blocks of theirs, then prove that none is left.

While it goes on, the sub-folder `.purge` stands in the folder, and nobody opens it (`manifest.refuse_if_purging`):
shards and manifest do not belong together then. It holds the journal, that is whom to take out, and for each rewritten
shard where its blocks lie now. The steps:

1. The journal is written. From here on a killed purge is finished by the next one, from the journal alone.
2. Each shard with blocks of theirs is written anew from the bytes of the other blocks, unchanged, under its name; the
   new places are noted just before the rename, so that either the old shard or the noted one is there.
3. The new manifest replaces the old one.
4. Every byte in the folder is searched (data_shards/shards/proof.py). Only if nothing is found does `.purge` go.
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
    """What a purge came to. Counts only."""

    recordings: int
    """Recordings taken out."""
    blocks: int
    """Their person-hours in the shards."""
    rewritten: int
    """Shards written anew."""
    removed: int
    """Shards that held nothing else and are gone."""
    linked: int
    """Shards written anew whose old bytes are still on this disk under another name (a hard link)."""
    searched: SearchResult
    """The proof."""


@dataclass(frozen=True)
class _Journal:
    """What a purge needs to be finished."""

    digest: str
    """Of the manifest before."""
    ids: list[str]
    """All ids that were asked for."""
    recordings: list[str]
    """Names of their recordings in the shards."""
    hashes: list[int]
    """Of their blocks."""
    linked: int
    """Touched shards with another hard link."""


def purge_cohort(cohort: Cohort, ids: frozenset[str]) -> PurgeResult:
    """Remove the recordings of `ids` from a cohort store, and look for what is left of them."""
    recordings = [info.recording for info in cohort.infos() if info.participant in ids]
    cohort.remove(recordings, ids)
    searched = search_cohort(cohort.root, Traces(ids, frozenset(recordings)))
    return PurgeResult(len(recordings), 0, 0, 0, 0, searched)


def purge_shards(folder: Path, ids: frozenset[str], workers: int = 1) -> PurgeResult:
    """Take the blocks of `ids` out of a shard folder, or finish a purge that was interrupted, and prove it.

    Raises:
        HarnetError: no shard folder, a shard is a link, or a block that must stay is damaged.
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
            _open_again(folder)  # killed before its journal was there, or when nothing but the folder was left
        return PurgeResult(0, 0, 0, 0, 0, searched)
    return _finish(folder, journal, workers)


def _begin(folder: Path, ids: frozenset[str]) -> _Journal | None:
    """Close the folder and write down what is to be done; None if nothing is."""
    contents = manifest.load(folder)
    theirs = _theirs(contents.participants, contents.columns["participant"], ids)
    if not theirs.any():
        return None
    touched = [folder / contents.shards[number].name for number in np.unique(contents.columns["shard"][theirs])]
    for path in touched:
        if path.is_symlink():
            raise HarnetError(f"{path}: is a link; purge the folder that it leads to, or replace it by the file itself")
        if not path.is_file():
            raise HarnetError(f"{path}: missing; `harnet verify` says what to do; then purge")
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
    """Write one shard anew with the blocks that stay, unless that was done before."""
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
    """Copy the samples that stay, byte for byte; return where their ranges begin."""
    offsets, begin = [], 0
    for place, (start, length) in enumerate(zip(shard.offset.tolist(), shard.length.tolist(), strict=True)):
        end = start + tar.padded(length)
        if stays[place]:
            old.seek(begin)
            content = old.read(end - begin)
            content_range = memoryview(content)[start - begin : start - begin + length]
            if len(content) != end - begin or digest(content_range) != shard.hash[place]:
                raise HarnetError(
                    f"{path}: {shard.name(place)} is damaged; copy this shard again from where it was made, then "
                    "purge again"
                )
            offsets.append(new.size + start - begin)
            new.write(content)
        begin = end
    return offsets


def _write_manifest(folder: Path, contents: manifest.Manifest, theirs: NDArray[np.bool_], journal: _Journal) -> None:
    """Replace the manifest by one of the blocks that stay, with their new places."""
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
    """Rows whose code stands for one of the wanted names."""
    among = frozenset(wanted)
    return np.array([name in among for name in names], bool)[codes]


def _is(path: Path, info: ShardInfo) -> bool:
    """Whether a shard is the rewritten one already."""
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
    """Remove half-written files of killed runs, which may hold anybody's blocks."""
    for path in [*folder.glob(".*.tmp"), *(folder / PURGE_MARK).glob(".*.tmp")]:
        path.unlink()
    if (folder / PARTS).exists():
        shutil.rmtree(folder / PARTS)


def _open_again(folder: Path) -> None:
    """Remove the journal, which names whom it was about, last of all; then the folder is open."""
    mark = folder / PURGE_MARK
    for path in mark.iterdir():
        if path.name != JOURNAL:
            path.unlink()
    (mark / JOURNAL).unlink(missing_ok=True)
    mark.rmdir()
    fsync_folder(folder)
    assert not os.path.lexists(mark)
