"""A store's index: what `zarr.json` of every recording says, in few files, so that 100,000 need not be opened.

The truth is in the recordings' folders; the index only saves reading them, so it may be behind, and hold too much:

- A *row* is a recording's name, the modification time of its folder (its stamp), a hash and its facts in JSON.
  A row counts only if the recording is listed in the store and its folder still has that stamp; so rows of recordings
  that are gone, or were removed and ingested anew, are passed over. Whatever no row speaks for is read from its
  `zarr.json`.
- A *segment* is a file of rows that never changes. A writer adds a segment of its own (a temporary file, flushed, then
  renamed), after its recording is in place: killed in between, its recording lacks a row, and is read the slow way.
- When a level holds `FAN_IN` segments, a writer merges the oldest into one of the next level, and removes them only
  after that is on disk. Two writers that merge the same ones write the same file under the same name; if their choice
  differs, some rows are there twice, which is harmless; one that finds a segment gone leaves the work to the other. A
  reader that finds a listed segment gone lists again.

So no lock is needed. The exception is removal (`without`): a merge that began before it may bring a row back, hence
nothing may be ingested meanwhile; the row would be dropped at the next merge, since its recording is gone.
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
"""Inside the store. Hidden, so that nothing takes it for a recording."""
FAN_IN = 32
"""Segments of one level that are merged: 100,000 rows are copied three times in all."""
ATTEMPTS = 100
"""Listings in a row that may find a segment gone; each time, some writer has merged 32."""

_SEGMENT = re.compile(r"(?P<level>\d)-\d{20}-[0-9a-f]{16}\.rows")


@dataclass(frozen=True)
class IndexRow:
    """What the index says of one recording."""

    recording: str
    """Name in the store."""
    stamp: int
    """`st_mtime_ns` of its folder when the row was written."""
    facts: bytes
    """`RecordingInfo` in JSON."""

    def info(self) -> RecordingInfo:
        """The facts."""
        return RecordingInfo.from_json(json.loads(self.facts))

    def line(self) -> bytes:
        """As it stands in a segment. Neither names nor JSON hold a raw tab or line feed."""
        digest = xxhash.xxh3_64_hexdigest(self.facts)
        return b"%s\t%d\t%s\t%s\n" % (self.recording.encode(), self.stamp, digest.encode(), self.facts)


def row_of(info: RecordingInfo, folder: Path) -> IndexRow:
    """The row of the recording that is complete in `folder`."""
    return IndexRow(info.recording, folder.stat().st_mtime_ns, json.dumps(asdict(info), separators=(",", ":")).encode())


def add(root: Path, rows: Iterable[IndexRow]) -> None:
    """Add a segment of these rows to the index of the store at `root`."""
    folder = root / FOLDER
    folder.mkdir(exist_ok=True)
    _write(folder / _name(0, time.time_ns(), uuid.uuid4().hex[:16]), rows)
    _merge(root, folder)


def find(root: Path, stamps: Mapping[str, int]) -> dict[str, IndexRow]:
    """The rows that speak for the recordings in `stamps` (name → stamp of the folder as it is now)."""
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
    """Drop all rows of `recordings`, and all that speak for no recording that is there."""
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
    """Merge the oldest segments of every level that holds enough."""
    for level, paths in _segments(folder):
        if len(paths) < FAN_IN:
            continue
        oldest = paths[:FAN_IN]
        try:
            rows = {row.recording: row for path in oldest for row in _rows(path) if _holds(row, root)}
        except FileNotFoundError:
            return  # another writer has merged them
        # The name says what was merged: whoever merges the same segments writes the same file.
        digest = xxhash.xxh3_64_hexdigest("".join(path.name for path in oldest).encode())
        stamp = int(oldest[0].name.split("-")[1])
        _write(folder / _name(min(level + 1, 9), stamp, digest), (rows[name] for name in sorted(rows)))
        for path in oldest:
            path.unlink(missing_ok=True)


def _holds(row: IndexRow, root: Path) -> bool:
    """Whether the recording of which a row speaks is still in its place."""
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
    """The sound rows of a segment; a damaged one is passed over, like one that was never written."""
    with path.open("rb") as file:
        for line in file:
            fields = line.rstrip(b"\n").split(b"\t")
            if len(fields) != 4 or not fields[1].isdigit():
                continue
            name, stamp, digest, facts = fields
            if xxhash.xxh3_64_hexdigest(facts).encode() == digest:
                yield IndexRow(name.decode(errors="replace"), int(stamp), facts)
