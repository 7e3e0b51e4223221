"""Device files → cohort store; a failing file does not stop the others."""

import errno
import importlib.metadata
import logging
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeVar

from data_shards.cohort import ledger
from data_shards.cohort.info import RecordingInfo, SourceFile
from data_shards.cohort.store import Cohort, NameTaken
from data_shards.ingest.checks import TooShort
from data_shards.ingest.identities import Identity, advice, identity
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.ingest_plan import PlannedFile, hashed, known_reader, one_name, plan_ingest, unhashed
from data_shards.ingest.preparation import PREPROCESSING, PreparedRecording
from data_shards.ingest.scratch import Scratch
from data_shards.notes import Note
from data_shards.parallel import run_all
from data_shards.readers import DeviceReader, Found
from data_shards.recording import Recording
from harnet.errors import HarnetError

__all__ = ["IngestOptions", "IngestOutcome", "ingest", "ingest_file"]

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Status = Literal["ingested", "already there", "excluded", "refused"]


@dataclass(frozen=True)
class IngestOutcome:
    """Outcome for one recording, or for a file in which none was found."""

    source: str
    """Path of the file as given."""
    status: Status
    """"ingested", "already there" (same bytes, same settings), "excluded" (by the user) or "refused"."""
    reason: str = ""
    """Why it was refused, in one line that names the file."""
    recording: str | None = None
    """Name in the store; None if it was not stored."""
    complete_seconds: int = 0
    """Seconds of signal without a missing sample."""
    worn_seconds: int = 0
    """Complete seconds in which the device was worn."""
    notes: tuple[Note, ...] = ()
    """What was dropped, repaired or observed."""
    too_short: bool = False
    """Whether it was refused only because it contains no full window."""


def ingest(
    paths: Sequence[Path], out: Path, options: IngestOptions, workers: int = 1
) -> tuple[list[IngestOutcome], tuple[str, ...]]:
    """Add all recordings in `paths`, or this part of them, to the store at `out`, which is created if missing.

    Returns the outcomes, in the order of the files, and the paths of other files that were skipped in folders.
    Raises `HarnetError` if there is no device file, and OSError (disk full) with finished work kept.
    """
    planned = plan_ingest(paths, options)
    # A path that does not exist is a typing error, not a file of the cohort; a folder is none either.
    if not planned.files and not any(os.path.isfile(path) for path, _ in planned.refused):
        return [IngestOutcome(str(path), "refused", reason) for path, reason in planned.refused], planned.skipped
    cohort = Cohort.create(out)
    taken = _taken(cohort, planned.files, options)
    outcomes = []
    for path, reason in (*planned.refused, *taken.items()):
        outcomes.append(IngestOutcome(str(path), "refused", reason))
        if os.path.isfile(path):
            _note(cohort, path, outcomes[-1:], options)
    files = [file.path for file in planned.files if file.path not in taken]
    work = partial(ingest_file, cohort=cohort, options=options)
    killed = partial(_killed, cohort=cohort, options=options)
    try:
        for some in run_all(work, files, workers, "ingest", "file", killed=killed):
            outcomes += some
    except OSError as error:
        error.filename = error.filename or str(out)  # writing does not name the file
        raise
    cohort.index([outcome.recording for outcome in outcomes if outcome.recording is not None])
    return outcomes, planned.skipped


def _taken(cohort: Cohort, files: Sequence[PlannedFile], options: IngestOptions) -> dict[Path, str]:
    """Files whose participant's name clashes with another one in the store, and the message for each."""
    if options.participant_pattern is None:
        return {}  # each recording is its own participant, and recordings are compared
    there = {info.participant: (info.participant_xxh3, info.source["name"]) for info in cohort.infos()}
    taken = {}
    for file in files:
        digest, name = there.get(file.identity.participant, ("", "")) if file.identity is not None else ("", "")
        if digest and file.identity is not None and digest != file.identity.digest:
            taken[file.path] = one_name(file.path, f"{name} in {cohort.root}")
    return taken


def ingest_file(path: Path, cohort: Cohort, options: IngestOptions) -> list[IngestOutcome]:
    """Add the recordings in one file to the store; problems of the file are returned as outcomes.

    Raises OSError if the store cannot be written to.
    """
    outcomes: list[IngestOutcome] = []
    try:
        reader = known_reader(path, options)
        source = unhashed(path, reader, options)
        label = reader.label(path)
        known = None if label is None else _without_reading(path, label, source, cohort, options)
        if known is not None:
            outcomes.append(known)
        else:
            source = hashed(path, source)
            for found in _recordings(reader, path, options):
                outcomes.append(_add(found, path, cohort, source, options))
    except HarnetError as error:
        outcomes.append(IngestOutcome(str(path), "refused", str(error)))
    except MemoryError:
        reason = f"{path}: not enough memory: ingest it with fewer workers or where there is more memory"
        outcomes.append(IngestOutcome(str(path), "refused", reason))
    _note(cohort, path, outcomes, options)
    return outcomes


def _killed(path: Path, how: str, cohort: Cohort, options: IngestOptions) -> list[IngestOutcome]:
    """The outcome of a file whose process died while nothing else was running."""
    reason = f"{path}: its process was {how}: ingest it on a machine with more memory, or exclude it"
    outcomes = [IngestOutcome(str(path), "refused", reason)]
    _note(cohort, path, outcomes, options)
    return outcomes


def _without_reading(
    path: Path, label: str, source: SourceFile, cohort: Cohort, options: IngestOptions
) -> IngestOutcome | None:
    """The outcome for a file with one recording, if its name decides it; None if it must be read."""
    names = identity(path, label, None, options)
    if names.participant in options.exclude:
        return IngestOutcome(str(path), "excluded")
    if names.recording not in cohort:
        return None
    there = cohort.info(names.recording)
    if not all(there.source[key] == source[key] for key in ("name", "bytes", "mtime_ns")):
        source = hashed(path, source)
    return _compare(path, there, source, options)


def _add(found: Found, path: Path, cohort: Cohort, source: SourceFile, options: IngestOptions) -> IngestOutcome:
    """Prepare and write one recording."""
    names = identity(path, found.label, found.participant, options)
    if names.participant in options.exclude:
        return IngestOutcome(str(path), "excluded")
    if names.recording in cohort:
        return _compare(path, cohort.info(names.recording), source, options)
    named = str(path) if found.participant is None else f"{path} ({names.recording})"
    with Scratch(cohort.root) as scratch:
        try:
            prepared = PreparedRecording(found.recording, named, options.preparation(), scratch)
        except HarnetError as error:
            return IngestOutcome(str(path), "refused", str(error), too_short=isinstance(error, TooShort))
        info = partial(_info, names, found.recording, prepared, source)
        try:
            return _outcome(path, cohort.write_hours(prepared.hours, prepared.stream(), info), "ingested")
        except NameTaken:  # another process added it meanwhile
            return _compare(path, cohort.info(names.recording), source, options)


def _info(names: Identity, recording: Recording, prepared: PreparedRecording, source: SourceFile) -> RecordingInfo:
    """Metadata of a recording after all its hours have been processed."""
    return RecordingInfo(
        recording=names.recording,
        participant=names.participant,
        first_hour=prepared.first_hour,
        hours=prepared.hours,
        device=recording.device,
        clock=recording.clock,
        wall_shifts=prepared.wall_shifts,
        nominal_rate=recording.nominal_rate,
        worn_seconds_by_hour=tuple(prepared.worn_seconds_by_hour),
        complete_seconds=prepared.complete_seconds,
        calibration=prepared.calibration,
        quality=prepared.quality(),
        notes=prepared.notes,
        metadata=recording.metadata,
        source=source,
        preprocessing=PREPROCESSING,
        package_version=importlib.metadata.version("harnet"),
        participant_xxh3=names.digest,
    )


def _compare(path: Path, there: RecordingInfo, source: SourceFile, options: IngestOptions) -> IngestOutcome:
    """Outcome if the name is taken, by the same or another recording. Without a hash, `source` is the known file."""
    known = there.source
    if source["xxh3"] and (known["bytes"], known["xxh3"]) != (source["bytes"], source["xxh3"]):
        reason = (
            f"{path}: its name is taken by another recording, from {known['name']} ({known['bytes']} bytes, "
            f"xxh3 {known['xxh3']}): {advice(options)}"
        )
        return IngestOutcome(str(path), "refused", reason)
    if known["settings"] != source["settings"] or there.preprocessing != PREPROCESSING:
        reason = f"{path}: already ingested with other settings: use the same settings, or another --out"
        return IngestOutcome(str(path), "refused", reason, there.recording)
    return _outcome(path, there, "already there")


def _outcome(path: Path, info: RecordingInfo, status: Status) -> IngestOutcome:
    return IngestOutcome(str(path), status, "", info.recording, info.complete_seconds, info.worn_seconds, info.notes)


def _note(cohort: Cohort, path: Path, outcomes: Sequence[IngestOutcome], options: IngestOptions) -> None:
    """Record what could not be ingested, under the names it would have had, so that people can withdraw."""
    try:
        found = identity(path, path.stem, None, options)
        names = (found.recording, found.participant)
    except HarnetError:
        names = ("", "")  # the pattern matches nobody, which is the recorded reason
    refused = [
        ledger.Unreadable(outcome.source, outcome.reason, *names)
        for outcome in outcomes
        if outcome.status == "refused" and outcome.recording is None
    ]
    ledger.note(cohort.root, path, refused)


def _recordings(reader: DeviceReader, path: Path, options: IngestOptions) -> Iterator[Found]:
    """Recordings found by the reader; a bug in a reader is logged with traceback and affects only its file."""
    for found in _with_readable_errors(reader.read(path, options.read), reader, path):
        pieces = _with_readable_errors(found.recording.pieces, reader, path)
        yield replace(found, recording=replace(found.recording, pieces=pieces))


def _with_readable_errors(items: Iterator[Item], reader: DeviceReader, path: Path) -> Iterator[Item]:
    try:
        yield from items
    except (HarnetError, MemoryError):
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # readers write temporary files only
            raise HarnetError(
                f"{path}: temporary files cannot be written into {tempfile.gettempdir()} ({error.strerror}): point "
                "TMPDIR to a disk with room"
            ) from error
        raise HarnetError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        log.exception("%s: the reader of %s failed; please report this", path, reader.kind)
        raise HarnetError(f"{path}: the reader failed ({type(error).__name__}: {error}): please report this") from error
