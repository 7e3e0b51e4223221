"""The files that were offered to a store and could not be ingested, so that they are counted over many runs.

One small file a source, named after a hash of its path; a later attempt on the same path replaces or removes it. No
two processes work on one source, so nothing else is needed.
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
"""Inside the store. Hidden, so that nothing takes it for a recording."""


@dataclass(frozen=True)
class Unreadable:
    """One recording, or one file, that is not in the store."""

    source: str
    """Path of the file as it was given."""
    reason: str
    """Why, in one line."""
    recording: str
    """Name it would have had; empty where that is not known."""
    participant: str
    """Whose it is; empty where that is not known."""


def note(root: Path, path: Path, refused: Collection[Unreadable]) -> None:
    """Keep what the latest attempt on `path` came to; nothing refused removes its entry."""
    folder = root / FOLDER
    entry = folder / f"{xxhash.xxh3_128_hexdigest(os.fsencode(path.resolve()))}.json"
    if refused:
        folder.mkdir(exist_ok=True)
        write_atomically(entry, json.dumps([asdict(each) for each in refused], indent=1))
    else:
        entry.unlink(missing_ok=True)


def entries(root: Path) -> list[Unreadable]:
    """All that is noted, in order of path."""
    found = [each for entry in _files(root) for each in _read(entry)]
    return sorted(found, key=lambda each: (each.source, each.recording))


def forget(root: Path, ids: Collection[str]) -> None:
    """Remove the entries of recordings or participants named in `ids`, and those with one of them in their path."""
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
