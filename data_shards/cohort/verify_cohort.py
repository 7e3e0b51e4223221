"""Verifying a cohort store: reads every byte of every recording once."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from data_shards.cohort import integrity
from data_shards.cohort.store import Cohort
from data_shards.parallel import run_all
from data_shards.problem import Problem
from harnet.errors import HarnetError

_HOURS = 24
"""Hours to decode at a time, for recordings without checksums."""
_STRANGER = "move it out of the store"
_RENAMED = "give the folder its own name back"


@dataclass(frozen=True)
class RecordingCheck:
    """Result of verifying one recording."""

    problems: tuple[Problem, ...]
    """Empty if all is well."""
    bytes: int
    """Number of bytes read."""
    sealed: bool
    """Whether there are checksums; without them only data that cannot be decoded are detected."""


@dataclass(frozen=True)
class Report:
    """Result of verifying a store."""

    problems: tuple[Problem, ...]
    """Empty if all is well."""
    recordings: int
    """Number of listed recordings."""
    bytes: int
    """Number of bytes read."""
    unsealed: int
    """Number of recordings without checksums, from an older version."""


def verify_cohort(root: Path, workers: int = 1) -> Report:
    """All problems of a store; none means that every byte of every sealed recording is as written.

    Raises:
        HarnetError: there is no store at `root`.
    """
    recordings = Cohort.open(root).recordings()
    found = run_all(partial(verify_recording, root), recordings, workers, "verify", "recordings")
    known = {*recordings, integrity.METADATA}
    strangers = sorted(path for path in root.iterdir() if path.name not in known and not path.name.startswith("."))
    problems = [problem for checked in found for problem in checked.problems]
    problems += [Problem(str(path), "not a recording or part of the store", _STRANGER) for path in strangers]
    unsealed = sum(not checked.sealed for checked in found)
    return Report(tuple(problems), len(recordings), sum(checked.bytes for checked in found), unsealed)


def verify_recording(root: Path, recording: str) -> RecordingCheck:
    """Verify one recording: all files exist and match the seal; without a seal, they can be decoded."""
    folder = root / recording
    try:
        group, name = integrity.read(folder), Cohort(root).info(recording).recording
    except HarnetError as error:
        return RecordingCheck((_problem(folder, error),), 0, True)
    problems = [] if name == recording else [Problem(str(folder), f"holds the recording {name}", _RENAMED)]
    if group.files is None:
        size = sum((folder / name).stat().st_size for name in integrity.files_of_group(folder))
        return RecordingCheck((*problems, *_undecodable(root, recording)), size, False)
    there, size = set(integrity.files_of_group(folder)), 0
    for path, sealed in group.files.items():
        if path not in there:
            problems.append(Problem(str(folder / path), "missing", integrity.REMEDY))
            continue
        found = integrity.size_and_hash(folder / path)
        size += found[0]
        if found != sealed:
            what = "its bytes differ" if found[0] == sealed[0] else f"{found[0]} bytes, expected {sealed[0]}"
            problems.append(Problem(str(folder / path), what, integrity.REMEDY))
    problems += [
        Problem(str(folder / path), "not part of this recording", _STRANGER) for path in sorted(there - {*group.files})
    ]
    return RecordingCheck(tuple(problems), size, True)


def _undecodable(root: Path, recording: str) -> list[Problem]:
    try:
        stored = Cohort(root).open_recording(recording)
        for hour in range(0, stored.info.hours, _HOURS):
            stored.read_hours(hour, min(hour + _HOURS, stored.info.hours))
    except HarnetError as error:
        return [_problem(root / recording, error)]
    return []


def _problem(folder: Path, error: HarnetError) -> Problem:
    what = str(error).removesuffix(f": {integrity.REMEDY}").removeprefix(f"{folder}: ").removeprefix(f"{folder}/")
    return Problem(str(folder), what, integrity.REMEDY)
