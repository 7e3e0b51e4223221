"""The index of a store: the `zarr.json` of all recordings in few files, so that 100,000 files need not be opened.

The recordings' folders are authoritative; the index is only a cache, so it may be incomplete and contain stale rows:

- A *row* is a recording's name, the modification time of its folder (its stamp), a hash and its metadata in JSON.
  A row is valid only if the recording is listed in the store and its folder still has that stamp; rows of recordings
  that were removed, or removed and ingested again, are ignored. A recording without a valid row is read from its
  `zarr.json`.
- A *segment* is an immutable file of rows. A writer adds its own segment (temporary file, fsync, rename) after its
  recording is in place; if it is killed in between, the recording lacks a row and is read the slow way.
- When a level has `FAN_IN` segments, a writer merges the oldest into one segment of the next level, and deletes them
  only after that is on disk. Two writers that merge the same segments write the same file under the same name; if
  their choice differs, some rows are duplicated, which is harmless; a writer that finds a segment gone leaves the work
  to the other. A reader that finds a listed segment gone lists again.

So no lock is needed. The exception is removal (`without`): a merge that started before it may bring a row back, so
nothing may be ingested meanwhile; the next merge would drop the row, because its recording is gone.
"""

import json
import os
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import xxhash

from data_shards.cohort.info import RecordingInfo
from harnet.files import fsync_folder, write_atomically

FOLDER = ".index"
"""Folder inside the store. Hidden, so that it is not mistaken for a recording."""
FAN_IN = 32
"""Number of segments per merge: 100,000 rows are copied three times in total."""
ATTEMPTS = 100
"""Maximum number of consecutive listings that find a segment gone; each time, a writer has merged 32."""

_SEGMENT = re.compile(r"(?P<level>\d)-\d{20}-[0-9a-f]{16}\.rows")


@dataclass(frozen=True)
class IndexRow:
    """Index row of one recording."""

    recording: str
    """Name in the store."""
    stamp: int
    """`st_mtime_ns` of its folder when the row was written."""
    facts: bytes
    """`RecordingInfo` in JSON."""

    def info(self) -> RecordingInfo:
        """The metadata."""
        return RecordingInfo.from_json(json.loads(self.facts))

    def line(self) -> bytes:
        """The row as stored in a segment. Neither names nor JSON contain a raw tab or line feed."""
        digest = xxhash.xxh3_64_hexdigest(self.facts)
        return b"%s\t%d\t%s\t%s\n" % (self.recording.encode(), self.stamp, digest.encode(), self.facts)


def row_of(info: RecordingInfo, folder: Path) -> IndexRow:
    """Row of the complete recording in `folder`."""
    return IndexRow(info.recording, folder.stat().st_mtime_ns, json.dumps(asdict(info), separators=(",", ":")).encode())


def add(root: Path, rows: Iterable[IndexRow]) -> None:
    """Add a segment with these rows to the index of the store at `root`."""
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    _write(folder / _name(0, time.time_ns(), uuid.uuid4().hex[:16]), rows)
    _merge(root, folder)


def find(root: Path, stamps: Mapping[str, int]) -> dict[str, IndexRow]:
    """Valid rows of the recordings in `stamps` (name → current stamp of the folder)."""
    for _ in range(ATTEMPTS):
        try:
            return {
                row.recording: row
                for _, paths in _segments(root / FOLDER)
                for path in paths
                for row in _rows(path)
                if stamps.get(row.recording) == row.stamp
            }
        except FileNotFoundError:
            continue
    return {}


def without(root: Path, recordings: Collection[str]) -> None:
    """Drop all rows of `recordings`, and all invalid rows."""
    for _, paths in _segments(root / FOLDER):
        for path in paths:
            rows = list(_rows(path))
            keep = [row for row in rows if row.recording not in recordings and _holds(row, root)]
            if len(keep) == len(rows) and path.read_bytes() == b"".join(row.line() for row in rows):
                continue
            if keep:
                _write(path, keep)
            else:
                path.unlink()
                fsync_folder(path.parent)


def _merge(root: Path, folder: Path) -> None:
    """Merge the oldest segments of every level that has enough."""
    for level, paths in _segments(folder):
        if len(paths) < FAN_IN:
            continue
        oldest = paths[:FAN_IN]
        try:
            rows = {row.recording: row for path in oldest for row in _rows(path) if _holds(row, root)}
        except FileNotFoundError:
            return  # another writer has merged them
        # The name depends on what was merged, so writers that merge the same segments write the same file.
        digest = xxhash.xxh3_64_hexdigest("".join(path.name for path in oldest).encode())
        stamp = int(oldest[0].name.split("-")[1])
        _write(folder / _name(min(level + 1, 9), stamp, digest), (rows[name] for name in sorted(rows)))
        for path in oldest:
            path.unlink(missing_ok=True)


def _holds(row: IndexRow, root: Path) -> bool:
    """Whether the row is still valid."""
    try:
        return os.stat(root / row.recording).st_mtime_ns == row.stamp
    except FileNotFoundError:
        return False


def _name(level: int, stamp: int, digest: str) -> str:
    return f"{level}-{stamp:020d}-{digest}.rows"


def _segments(folder: Path) -> list[tuple[int, list[Path]]]:
    """Segments by level, oldest first."""
    levels: dict[int, list[Path]] = defaultdict(list)
    if folder.is_dir():
        for name in sorted(os.listdir(folder)):
            if match := _SEGMENT.fullmatch(name):
                levels[int(match["level"])].append(folder / name)
    return sorted(levels.items())


def _write(path: Path, rows: Iterable[IndexRow]) -> None:
    write_atomically(path, b"".join(row.line() for row in rows))


def _rows(path: Path) -> Iterator[IndexRow]:
    """Intact rows of a segment; damaged ones are skipped."""
    with path.open("rb") as file:
        for line in file:
            fields = line.rstrip(b"\n").split(b"\t")
            if len(fields) != 4 or not fields[1].isdigit():
                continue
            name, stamp, digest, facts = fields
            if xxhash.xxh3_64_hexdigest(facts).encode() == digest:
                yield IndexRow(name.decode(errors="replace"), int(stamp), facts)
