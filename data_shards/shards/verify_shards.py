"""Verifying a shard folder against its manifest: reads every byte once."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

from data_shards.parallel import run_all
from data_shards.problem import Problem
from data_shards.shards import manifest
from data_shards.shards.block import digest, head, parse_block_metadata
from data_shards.shards.manifest import Manifest
from data_shards.shards.shard_rows import ShardRows, rows_by_shard
from data_shards.shards.tar import padded

COPY_AGAIN = "copy this shard again from an intact folder, or delete the folder and run `harnet shard` again"
STALE = "the manifest is stale or was edited: restore it, or delete the folder and run `harnet shard` again"
STRANGER = "move it out of the folder, or, if it belongs there, restore the manifest that lists it"
SWAPPED = "files were swapped or copied under a wrong name: restore their names, or copy them again"


@dataclass(frozen=True)
class ShardCheck:
    """Result of verifying one shard."""

    problems: list[Problem]
    """Empty if all is well."""
    xxh3: str
    """xxh3-128 of the file; empty if it does not exist."""


def verify_shards(folder: Path, workers: int = 1) -> list[Problem]:
    """All problems of a shard folder; an empty list means that every byte matches the manifest.

    Raises:
        HarnetError: there is no readable manifest.
    """
    contents = manifest.read(folder)
    shards = rows_by_shard(contents)
    found = run_all(partial(verify_shard, folder), shards, workers, "verify", "shards")
    problems = _of_the_manifest(folder / manifest.FILE_NAME, contents, shards)
    names = {shard.xxh3: shard.name for shard in contents.shards}
    for shard, checked in zip(contents.shards, found, strict=True):
        other = names.get(checked.xxh3, shard.name)
        if checked.problems and other != shard.name:
            problems.append(Problem(str(folder / shard.name), f"holds the bytes of {other}", SWAPPED))
        else:
            problems += checked.problems
    known = {folder / shard.name for shard in contents.shards}
    strangers = sorted(path for path in folder.rglob("*.tar") if path not in known)
    return problems + [Problem(str(path), "not in the manifest", STRANGER) for path in strangers]


def verify_shard(folder: Path, shard: ShardRows) -> ShardCheck:
    """Verify one shard: existence, size and hash of the file, and each block with its header."""
    path = folder / shard.info.name
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return ShardCheck([_damage(str(path), "missing")], "")
    with file:
        size = os.fstat(file.fileno()).st_size
        whole = xxhash.xxh3_128()
        states = list(_walk(file, size, shard, whole)) if shard.in_order else []
        for piece in iter(partial(file.read, 1 << 20), b""):
            whole.update(piece)
    return ShardCheck(_problems(path, size, shard, whole.hexdigest(), states), whole.hexdigest())


_GOOD, _HEAD_DIFFERS, _DIFFERS, _CUT_OFF = range(4)
_SAYS = {
    _HEAD_DIFFERS: "the tar header or about.json before it differs",
    _DIFFERS: "bytes differ from the manifest's hash",
    _CUT_OFF: "cut off",
}


def _walk(file: BinaryIO, size: int, shard: ShardRows, whole: "xxhash.xxh3_128") -> Iterator[int]:
    """Yield the state of each block; `whole` is updated with all bytes up to the end of the last block."""
    at = 0
    for place, (start, length, expected, samples) in enumerate(
        zip(*(column.tolist() for column in (shard.offset, shard.length, shard.hash, shard.samples)), strict=True)
    ):
        before = file.read(max(0, min(start, size) - at))
        content = file.read(max(0, min(start + length, size) - start))
        whole.update(before)
        whole.update(content)
        if len(content) != length:
            yield _CUT_OFF
        elif digest(content) != expected:
            yield _DIFFERS
        else:
            yield _GOOD if _is_head(before, at, memoryview(content), samples, shard, place) else _HEAD_DIFFERS
        at = min(start + length, size)


def _is_head(before: bytes, at: int, content: memoryview, samples: int, shard: ShardRows, place: int) -> bool:
    """Whether the bytes between two ranges, padding and header, are as written."""
    padding = padded(at) - at
    try:
        about = parse_block_metadata(memoryview(before)[padding:])
        return shard.is_about(about, place) and before == bytes(padding) + head(about, content, samples)
    except (KeyError, TypeError, ValueError):
        return False


def _problems(path: Path, size: int, shard: ShardRows, xxh3: str, states: list[int]) -> list[Problem]:
    info = shard.info
    if (size, xxh3) == (info.bytes, info.xxh3):
        if shard.in_order and not any(states) and len(states) == info.blocks:
            return []
        named = [Problem(each.where, each.what, STALE) for each in _named(path, shard, states)]
        what = f"is intact, but its blocks are not the {info.blocks} that the manifest lists, or not at those offsets"
        return named or [Problem(str(path), what, STALE)]
    problems = [_damage(str(path), f"{size} bytes, the manifest says {info.bytes}")] if size != info.bytes else []
    if states and all(state in (_DIFFERS, _CUT_OFF) for state in states) and _DIFFERS in states and len(states) > 1:
        what = f"none of its {len(states)} blocks matches the manifest: another file, or another manifest"
        return [*problems, _damage(str(path), what)]
    problems += _named(path, shard, states)
    return problems or [_damage(str(path), "bytes outside the blocks differ (the end of the archive)")]


def _named(path: Path, shard: ShardRows, states: list[int]) -> list[Problem]:
    """Damaged blocks by their offsets; neighbours with the same state are merged."""
    edges = np.flatnonzero(np.diff(states, prepend=-1, append=-1)).tolist()
    problems = []
    for first, stop in pairwise(edges):
        if states[first] != _GOOD:
            several = f" to byte {shard.offset[stop - 1]} ({stop - first} blocks)" if stop - first > 1 else ""
            problems.append(_damage(f"{path}: {shard.name(first)}{several}", _SAYS[states[first]]))
    return problems


def _of_the_manifest(path: Path, contents: Manifest, shards: list[ShardRows]) -> list[Problem]:
    """Problems of the manifest itself."""
    where = str(path)
    twice = [name for name, count in Counter(shard.name for shard in contents.shards).items() if count > 1]
    problems = [Problem(where, f"lists {name} more than once", STALE) for name in twice]
    people: dict[str, set[str]] = {"train": set(), "heldout": set()}
    for shard in shards:
        people[shard.info.split].update(shard.participants)
    if both := people["train"] & people["heldout"]:
        problems.append(Problem(where, f"{len(both)} people are both in train and in heldout shards", STALE))
    return problems


def _damage(where: str, what: str) -> Problem:
    return Problem(where, what, COPY_AGAIN)
