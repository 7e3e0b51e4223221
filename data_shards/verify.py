"""Is a shard folder exactly what its manifest says? Every byte is read."""

import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import xxhash

from data_shards import manifest
from data_shards.block import digest
from data_shards.manifest import Manifest
from data_shards.parallel import run_all

REMEDY = "copy this shard again from where it was made, or delete the folder and run `harnet shard` again"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    where: str
    """Shard, and block where it is one."""
    what: str
    """What was expected and found."""
    remedy: str = REMEDY
    """What to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"


def verify(folder: Path, workers: int = 1) -> list[Problem]:
    """All problems of a shard folder; an empty list means that every byte is as the manifest says.

    Raises:
        HarnetError: there is no readable manifest to check against.
    """
    contents = manifest.read(folder)
    numbers = list(range(len(contents.shards)))
    found = run_all(partial(verify_shard, folder), numbers, workers, "verify", "shards")
    known = {shard.name for shard in contents.shards}
    strangers = sorted(path.name for path in folder.glob("*.tar") if path.name not in known)
    remedy = "move it out of the folder, or, if it belongs there, restore the manifest that lists it"
    problems = [problem for of_shard in found for problem in of_shard]
    return problems + [Problem(str(folder / name), "not in the manifest", remedy) for name in strangers]


def verify_shard(folder: Path, number: int) -> list[Problem]:
    """Problems of one shard: there, of the right size and hash, each block where the manifest says."""
    contents = manifest.read(folder)
    shard = contents.shards[number]
    path = folder / shard.name
    if not path.is_file():
        return [Problem(str(path), "missing")]
    size = path.stat().st_size
    problems = []
    if size != shard.bytes:
        problems.append(Problem(str(path), f"{size} bytes, the manifest says {shard.bytes}"))
    if size == 0:
        return problems
    content = np.memmap(path, np.uint8, "r")
    if not problems and xxhash.xxh3_128_hexdigest(content.data) == shard.xxh3:
        return _verify_members(contents, number, path)
    damaged = _damaged_blocks(contents, number, content)
    if not problems and not damaged:
        problems.append(Problem(str(path), "bytes outside the blocks differ (a tar header or about.json)"))
    return problems + [Problem(name, "bytes differ from the manifest's hash or are cut off") for name in damaged]


def _rows(contents: Manifest, number: int) -> list[int]:
    return np.flatnonzero(contents.columns["shard"] == number).tolist()


def _damaged_blocks(contents: Manifest, number: int, content: np.memmap) -> list[str]:
    damaged = []
    for row in _rows(contents, number):
        start, length, expected = (int(contents.columns[name][row]) for name in ("offset", "length", "hash"))
        piece = content[start : start + length]
        if len(piece) != length or digest(piece.data) != expected:
            damaged.append(contents.name_of(row))
    return damaged


def _verify_members(contents: Manifest, number: int, path: Path) -> list[Problem]:
    """The file is as it was made; is the manifest's table of its blocks too?"""
    remedy = "the manifest is stale or was edited: restore it, or delete the folder and run `harnet shard` again"
    with tarfile.open(path) as tar:
        starts = {member.name.removesuffix(".accel.npy"): member.offset_data for member in tar if
                  member.name.endswith(".accel.npy")}  # fmt: skip
    rows = _rows(contents, number)
    expected = {contents.key_of(row): int(contents.columns["offset"][row]) for row in rows}
    if starts != expected:
        return [Problem(str(path), f"holds {len(starts)} blocks, not the {len(expected)} of the manifest", remedy)]
    damaged = _damaged_blocks(contents, number, np.memmap(path, np.uint8, "r"))
    return [Problem(name, "its hash in the manifest is not that of its bytes", remedy) for name in damaged]
