"""Proof that no data of certain people are left in a folder: reads every byte of every file, including hidden ones.

Three methods, depending on the file:

- A shard that matches the manifest exactly contains only the blocks that the manifest lists, headers that follow from
  them, and zeros. Nothing else can be in it, so it suffices that the manifest lists none of their blocks.
- The manifest is decoded and checked for their names and the hashes of their blocks.
- Any other file, including a shard that differs from the manifest, is searched for their names as whole words
  (letters, digits, `_`, `-`, `.`) and, wherever a signal could start, for the hash of one of their blocks.
"""

import json
import mmap
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_shards.parallel import run_all
from data_shards.shards import manifest
from data_shards.shards.block import digest, range_at
from data_shards.shards.shard_rows import ShardRows, rows_by_shard
from data_shards.shards.tar import RECORD
from data_shards.shards.verify_shards import verify_shard

_WORD = re.compile(rb"[A-Za-z0-9_.-]+")


@dataclass(frozen=True)
class Traces:
    """What must not be found in the folder."""

    ids: frozenset[str]
    """Pseudonyms."""
    recordings: frozenset[str] = frozenset()
    """Names of their recordings, as far as known."""
    hashes: frozenset[int] = frozenset()
    """xxh3-64 of the ranges of their blocks, as far as known."""

    @property
    def names(self) -> frozenset[bytes]:
        """Words to search for."""
        return frozenset(name.encode() for name in self.ids | self.recordings)


@dataclass(frozen=True)
class SearchResult:
    """Result of searching one or more files."""

    files: int = 0
    """Number of files read."""
    bytes: int = 0
    """Number of bytes read."""
    found: tuple[str, ...] = ()
    """File and kind of data found in it, without names."""
    differs: tuple[str, ...] = ()
    """Shards that differ from the manifest."""

    def __add__(self, other: "SearchResult") -> "SearchResult":
        return SearchResult(
            self.files + other.files, self.bytes + other.bytes, self.found + other.found, self.differs + other.differs
        )


def search_shards(folder: Path, traces: Traces, workers: int) -> SearchResult:
    """Search a shard folder, except the journal of the purge itself."""
    shards = rows_by_shard(manifest.load(folder))
    listed = {folder / shard.info.name for shard in shards}
    others = [path for path in _files(folder, skip=manifest.PURGE_MARK) if path not in listed]
    found = run_all(partial(_search_shard, folder, traces), shards, workers, "prove", "shards")
    found += run_all(partial(search_file, folder, traces), others, workers, "prove", "files")
    return sum(found, SearchResult())


def search_cohort(root: Path, traces: Traces) -> SearchResult:
    """Search a cohort store: all file names, and all files except the compressed signals of remaining recordings."""
    files = list(_files(root))
    signals = {path for path in files if re.search(r"/(accel|motion|wear)/c(/\d+)+$", path.as_posix())}
    found = [search_file(root, traces, path) for path in files if path not in signals]
    names = [f"{path}: its name" for path in sorted(signals) if _words(_name(root, path)) & traces.names]
    return sum(found, SearchResult(found=tuple(names)))


def search_file(root: Path, traces: Traces, path: Path, known: Sequence[tuple[int, int]] = ()) -> SearchResult:
    """Search one file and its name, except the byte ranges `known` (sorted), which certainly belong to others."""
    if path.name == manifest.FILE_NAME:
        return SearchResult(1, path.stat().st_size, tuple(_search_manifest(path, traces)))
    found = {f"{path}: its name"} if _words(_name(root, path)) & traces.names else set()
    size = path.stat().st_size
    if size:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            edges = [0, *(edge for part in known for edge in part), size]
            for start, stop in zip(edges[::2], edges[1::2], strict=True):
                with memoryview(content) as view, view[start:stop] as part:
                    found.update(f"{path}: {what}" for what in _search_bytes(part, start, traces))
    return SearchResult(1, size, tuple(sorted(found)))


def _search_shard(folder: Path, traces: Traces, shard: ShardRows) -> SearchResult:
    path = folder / shard.info.name
    if not path.exists():
        return SearchResult(differs=(str(path),))
    if verify_shard(folder, shard).problems:
        return search_file(folder, traces, path, _of_others(path, shard, traces)) + SearchResult(differs=(str(path),))
    clean = (
        traces.ids.isdisjoint(shard.participants)
        and traces.recordings.isdisjoint(shard.recordings)
        and traces.hashes.isdisjoint(shard.hash.tolist())
    )
    return SearchResult(1, shard.info.bytes, () if clean else (f"{path}: blocks of theirs",))


def _of_others(path: Path, shard: ShardRows, traces: Traces) -> list[tuple[int, int]]:
    """Byte ranges of the intact blocks of a damaged shard: numbers, in which any short name can occur by chance."""
    parts = []
    with path.open("rb") as file:
        columns = (column.tolist() for column in (shard.offset, shard.length, shard.hash))
        for start, length, expected in zip(*columns, strict=True):
            file.seek(start)
            if shard.in_order and expected not in traces.hashes and digest(file.read(length)) == expected:
                parts.append((start, start + length))
    return parts


def _search_manifest(path: Path, traces: Traces) -> Iterator[str]:
    table = manifest.read_table(path).combine_chunks()
    for name in ("participant", "recording"):
        for chunk in table[name].chunks:
            if set(chunk.dictionary.to_pylist()) & (traces.ids | traces.recordings):
                yield f"{path}: names in the column {name}"
    if traces.hashes & set(table["hash"].to_pylist()):
        yield f"{path}: hashes of their blocks"
    about = json.loads(table.schema.metadata[b"harnet_manifest"])
    if _strings(about) & (traces.ids | traces.recordings):
        yield f"{path}: names in its metadata"


def _search_bytes(content: memoryview, at: int, traces: Traces) -> Iterator[str]:
    """Search a part of a file that starts at byte `at`."""
    if any(_words(match[0]) & traces.names for match in _WORD.finditer(content)):
        yield "a name"
    if traces.hashes and any(found in traces.hashes for found in _digests(content, at)):
        yield "a block of theirs"


def _digests(content: memoryview, at: int) -> Iterator[int]:
    """Hash of everything that could be a block's range: starting at a .npy file or, on a tar record, a Blosc chunk."""
    starts = {match.start() for match in re.finditer(rb"\x93NUMPY", content)}
    for start in sorted(starts | set(range(-at % RECORD, len(content), RECORD))):
        with content[start:] as rest:
            length = range_at(rest)
            if length is not None:
                yield digest(rest[:length])


def _words(text: bytes) -> set[bytes]:
    """Each word, also without its extensions: p1.tar.gz, p1.tar, p1."""
    words = set()
    for match in _WORD.finditer(text):
        word = match[0].strip(b".")
        words.add(match[0])
        while word:
            words.add(word)
            word = word.rpartition(b".")[0]
    return words


def _name(root: Path, path: Path) -> bytes:
    return os.fsencode(path.relative_to(root))


def _strings(value: object) -> set[str]:
    """All strings in a JSON value, keys included."""
    if isinstance(value, dict):
        return set(value) | {text for each in value.values() for text in _strings(each)}
    if isinstance(value, list):
        return {text for each in value for text in _strings(each)}
    return {value} if isinstance(value, str) else set()


def _files(folder: Path, skip: str | None = None) -> Iterator[Path]:
    """All files below a folder, except those in its sub-folder `skip`."""
    for parent, folders, names in os.walk(folder):
        if skip is not None and Path(parent) == folder:
            folders[:] = [name for name in folders if name != skip]
        yield from (Path(parent) / name for name in sorted(names))
