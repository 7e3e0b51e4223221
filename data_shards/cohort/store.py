"""The cohort store: 30 Hz recordings in one Zarr v3 hierarchy, one group per recording, immutable once written.

A recording is written under a hidden name inside the store and renamed when it is complete and on disk. So every
listed recording is complete, and many processes on many machines can add recordings concurrently. Beside the recordings
are an index of their metadata (`index`) and a ledger of files that could not be ingested (`ledger`).
"""

import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort import index as cohort_index
from data_shards.cohort import integrity, ledger
from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.stored import ArrayWriter, HourData, StoredRecording, open_arrays
from data_shards.layout import SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.listing import damaged, listed
from harnet.errors import HarnetError
from harnet.files import fsync_folder, fsync_tree, publish, write_atomically
from harnet.owners import OWNED, is_dead, new_name

__all__ = ["FORMAT", "Cohort", "HourData", "NameTaken", "StoredRecording", "is_valid_name", "sanitised"]

FORMAT = 3
"""Version of the layout; increased when older readers could not read the new layout."""
_READ = (2, FORMAT)
"""Readable versions. Version 2 has no checksums, but recordings added to such a store do."""
STALE_SECONDS = 24 * 3600
"""A temporary folder of another machine that was not modified for a day is considered abandoned."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_RECORDING = re.compile(rf"\.writing-{OWNED}")
_FILE = re.compile(rf"\..+\.{OWNED}\.tmp")
_REMOVED = re.compile(r"\.removing-[0-9a-f]{32}")


class NameTaken(HarnetError):
    """A recording that was to be added has the name of one in the store."""


@dataclass(frozen=True)
class Cohort:
    """A store on a local or shared file system; use `create` or `open`."""

    root: Path
    """The store's folder, such as cohort.zarr."""
    listing: Path | None = None
    """File in which the first task of a job array stores the list of recordings for the others."""

    @classmethod
    def create(cls, path: Path) -> "Cohort":
        """Create the store, or open it if it exists, and remove what killed writers left.

        Raises `HarnetError` if the folder contains other files.
        """
        path = Path(path)
        if (path / "zarr.json").exists():
            cohort = cls.open(path)
        elif _holds_other_files(path):
            raise HarnetError(f"{path}: contains other files and is not a cohort store: pass the name of a new folder")
        else:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise HarnetError(f"{path}: is a file: pass the name of a new folder for the cohort store") from None
            write_atomically(path / "zarr.json", _group_json({"harnet_cohort": FORMAT}))
            cohort = cls(path)
        cohort._remove_stale()
        return cohort

    @classmethod
    def open(cls, path: Path, listing: Path | None = None) -> "Cohort":
        """Open an existing store; `HarnetError` if there is none at `path`."""
        path = Path(path)
        version = integrity.read(path).attributes.get("harnet_cohort")
        if version is None:
            raise HarnetError(f"{path}: not a harnet cohort store: pass the folder that `harnet ingest --out` wrote")
        if version not in _READ:
            newer = isinstance(version, int) and version > FORMAT
            advice = "upgrade harnet" if newer else "from an older version: ingest the files into a new folder"
            raise HarnetError(f"{path}: cohort format {version!r}, this version reads {FORMAT}: {advice}")
        return cls(path, listing)

    def recordings(self) -> list[str]:
        """Names of all complete recordings, sorted. Lists one folder and opens nothing."""
        with os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir())

    def __contains__(self, recording: str) -> bool:
        """Whether the recording exists and is complete."""
        return (self._folder(recording) / "zarr.json").is_file()

    def info(self, recording: str) -> RecordingInfo:
        """Metadata of a recording, from one small JSON file; `HarnetError` if it is missing or damaged."""
        return self._read(recording)[1]

    def _read(self, recording: str) -> tuple[integrity.Group, RecordingInfo]:
        folder = self._folder(recording)
        group = integrity.read(folder)
        try:
            return group, RecordingInfo.from_json(dict(group.attributes))
        except (TypeError, KeyError, AttributeError) as error:
            raise HarnetError(
                f"{folder}: not a recording of this cohort format ({error}): delete the folder and ingest it again"
            ) from error

    def infos(self) -> Iterator[RecordingInfo]:
        """Metadata of all recordings, in order of name: from the index, or from `info` for those not in it."""
        stamps = self._stamps() if self.listing is None else self._listed(self.listing)
        rows = cohort_index.find(self.root, stamps)
        for recording in sorted(stamps):
            row = rows.pop(recording, None)
            yield self.info(recording) if row is None else row.info()

    def _stamps(self) -> dict[str, int]:
        """Stamp (modification time) of each recording's folder; needs one stat per folder."""
        with os.scandir(self.root) as entries:
            return {
                entry.name: entry.stat().st_mtime_ns
                for entry in entries
                if _NAME.fullmatch(entry.name) and entry.is_dir()
            }

    def _listed(self, listing: Path) -> dict[str, int]:
        """The same, as stored in `listing` by the first task."""
        found = listed(listing, [os.path.abspath(self.root)], self._stamps)
        if not isinstance(found, dict) or not all(isinstance(stamp, int) for stamp in found.values()):
            raise damaged(listing)
        return found

    def index(self, recordings: Collection[str]) -> None:
        """Add `recordings` that the index lacks, after killed writers or copying the store."""
        stamps = {name: self._folder(name).stat().st_mtime_ns for name in recordings}
        lacking = sorted(stamps.keys() - cohort_index.find(self.root, stamps).keys())
        if lacking:
            cohort_index.add(self.root, (cohort_index.row_of(self.info(name), self._folder(name)) for name in lacking))

    def open_recording(self, recording: str) -> StoredRecording:
        """Open a recording to read many of its hours; `HarnetError` if one of its files is missing or truncated."""
        folder = self._folder(recording)
        group, info = self._read(recording)
        integrity.refuse_if_incomplete(folder, group)
        return open_arrays(folder, info)

    def read_hours(self, recording: str, start: int, stop: int) -> HourData:
        """Hours start..stop-1 of a recording; `HarnetError` if some do not exist. See also `open_recording`."""
        return self.open_recording(recording).read_hours(start, stop)

    def write(
        self, info: RecordingInfo, accel: NDArray[np.int16], motion: NDArray[np.float32], wear: NDArray[np.uint8]
    ) -> None:
        """Add a recording: durable and complete when this returns, absent if it does not.

        Shapes as in `HourData`. Raises `NameTaken` if the name is taken.
        """
        assert accel.shape == (3, info.hours * SAMPLES_PER_HOUR)
        assert accel.dtype == np.int16
        assert motion.shape == wear.shape == (info.hours * SECONDS_PER_HOUR,)
        self.write_hours(info.hours, iter([(0, HourData(accel, motion, wear))]), lambda: info)

    def write_hours(
        self, hours: int, data: Iterator[tuple[int, HourData]], info: Callable[[], RecordingInfo]
    ) -> RecordingInfo:
        """Add a recording hour by hour: durable and complete when this returns, absent otherwise.

        Args:
            hours: Total number of hours, from the first to the last.
            data: Index of an hour, from 0, and the arrays from that hour on; empty hours are omitted.
            info: Called once `data` is exhausted.

        Raises `NameTaken` if the name is taken, and any error of `data`.
        """
        temporary = self.root / f".writing-{new_name()}"
        try:
            writer = ArrayWriter(temporary, hours)
            for hour, arrays in data:
                writer.add(hour, arrays)
            known = info()
            assert known.hours == hours
            writer.finish(known)
            final = self._folder(known.recording)
            fsync_tree(temporary)
            _publish_new(temporary, final, known.recording)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        cohort_index.add(self.root, [cohort_index.row_of(known, final)])
        return known

    def unreadable(self) -> list[tuple[str, str]]:
        """(path as given, reason) of each file or recording that could not be ingested, in order of path."""
        return [(each.source, each.reason) for each in ledger.entries(self.root)]

    def remove(self, recordings: Collection[str], participants: Collection[str] = ()) -> None:
        """Remove recordings, and all index rows and ledger entries of them and of `participants`.

        If killed at any point, the same call finishes the work: the information that links recordings to people is
        removed last. Nothing may be ingested into the store meanwhile. OSError if a file cannot be removed.
        """
        there = [name for name in recordings if name in self]
        ledger.remove_entries(self.root, {*recordings, *participants, *(self.info(name).participant for name in there)})
        cohort_index.without(self.root, frozenset(recordings))
        for name in there:
            # Deleting a folder is not atomic; under its own name, half a recording would still be listed.
            os.replace(self._folder(name), self.root / f".removing-{uuid.uuid4().hex}")
        fsync_folder(self.root)
        self._remove_stale(everything=True)
        fsync_folder(self.root)

    def _folder(self, recording: str) -> Path:
        if not is_valid_name(recording):
            raise HarnetError(
                f"{self.root}: {recording!r} cannot name a recording: letters, digits, '_', '-', '.' only"
            )
        return self.root / recording

    def _remove_stale(self, everything: bool = False) -> None:
        """Remove what killed writers left, but nothing of writers that are still running anywhere.

        With `everything`, remove all temporary folders; no writer may be running.
        """
        for folder in (self.root, self.root / cohort_index.FOLDER, self.root / ledger.FOLDER):
            for entry in folder.glob(".*") if folder.is_dir() else ():
                if everything or _is_stale(entry):
                    _remove_temporary(entry, ignore_errors=not everything)


def _holds_other_files(path: Path) -> bool:
    """Whether a folder contains files but is not a store; a store's own zarr.json is written first."""
    return (
        path.is_dir()
        and any(not entry.name.startswith(".") for entry in path.iterdir())
        and not (path / "zarr.json").exists()  # another process may have made the store since
    )


def is_valid_name(recording: str) -> bool:
    """Whether a name is safe to use as a folder name in the store, whatever its origin."""
    return bool(_NAME.fullmatch(recording)) and ".." not in recording and recording != "zarr.json"


def sanitised(name: str) -> str:
    """Text as a name: characters other than letters, digits, `_`, `-` and `.` become `_`. May still be too long."""
    safe = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.-]", "_", name))
    safe = re.sub(r"^[.-]", "_", safe) or "_"
    return "_" + safe if safe == "zarr.json" else safe


def _is_stale(entry: Path) -> bool:
    """Whether a temporary entry of the store belongs to no running process."""
    if _REMOVED.fullmatch(entry.name):
        return True
    owned = _RECORDING.fullmatch(entry.name) or _FILE.fullmatch(entry.name)
    if owned is not None and is_dead(owned):
        return True
    try:
        return time.time() - entry.stat().st_mtime > STALE_SECONDS
    except FileNotFoundError:
        return False  # its writer finished just now


def _remove_temporary(entry: Path, ignore_errors: bool) -> None:
    """Remove an entry of the store if its name marks it as temporary."""
    if _RECORDING.fullmatch(entry.name) or _REMOVED.fullmatch(entry.name):
        shutil.rmtree(entry, ignore_errors)
    elif entry.name.startswith(".") and entry.name.endswith(".tmp"):
        entry.unlink(missing_ok=True)


def _publish_new(temporary: Path, final: Path, recording: str) -> None:
    """Rename without replacing: of two writers with the same name, the second fails."""
    try:
        publish(temporary, final)
    except OSError as error:
        if not final.exists():
            raise
        raise NameTaken(f"{final.parent}: {recording} already exists: rename one of the two") from error


def _group_json(attributes: dict[str, Any]) -> str:
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=2)
