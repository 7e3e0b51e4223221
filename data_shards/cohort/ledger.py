"""Files that could not be ingested into a store, recorded so that they are counted over many runs.

One small file per source, named after a hash of its path; a later attempt on the same path replaces or removes it.
Two processes never work on the same source, so no locking is needed.
"""

import json
import os
import re
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import xxhash

from harnet.files import fsync_folder, write_atomically

FOLDER = ".unreadable"
"""Folder inside the store. Hidden, so that it is not mistaken for a recording."""


@dataclass(frozen=True)
class Unreadable:
    """A recording or file that could not be ingested."""

    source: str
    """Path of the file as given."""
    reason: str
    """Reason, in one line."""
    recording: str
    """Name it would have had; empty if unknown."""
    participant: str
    """Its participant; empty if unknown."""


def note(root: Path, path: Path, refused: Collection[Unreadable]) -> None:
    """Record the outcome of the latest attempt on `path`; if nothing was refused, its entry is removed."""
    folder = root / FOLDER
    entry = folder / f"{xxhash.xxh3_128_hexdigest(os.fsencode(path.resolve()))}.json"
    if refused:
        folder.mkdir(exist_ok=True)
        write_atomically(entry, json.dumps([asdict(each) for each in refused], indent=1))
    else:
        entry.unlink(missing_ok=True)


def entries(root: Path) -> list[Unreadable]:
    """All entries, in order of path."""
    found = [each for entry in _files(root) for each in _read(entry)]
    return sorted(found, key=lambda each: (each.source, each.recording))


def remove_entries(root: Path, ids: Collection[str]) -> None:
    """Remove the entries of the recordings or participants in `ids`, and those with one of them in their path."""
    if not ids:
        return
    anywhere = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(map(re.escape, sorted(ids)))})(?![A-Za-z0-9])")
    files = _files(root)
    for entry in files:
        if any({each.recording, each.participant} & set(ids) or anywhere.search(each.source) for each in _read(entry)):
            entry.unlink(missing_ok=True)
    if files:
        fsync_folder(root / FOLDER)


def _files(root: Path) -> list[Path]:
    folder = root / FOLDER
    return [folder / name for name in os.listdir(folder) if name.endswith(".json")] if folder.is_dir() else []


def _read(entry: Path) -> list[Unreadable]:
    try:
        return [Unreadable(**values) for values in json.loads(entry.read_bytes())]
    except FileNotFoundError:
        return []  # ingested meanwhile
