"""Device files → cohort store: read, check, resample, find wear, write; one file's trouble stops no other."""

import importlib.metadata
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import xxhash

from data_shards.checks import check
from data_shards.cohort import Cohort, Preprocessing, RecordingInfo, Source, sanitised
from data_shards.layout import COUNTS_PER_G, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.parallel import run_all
from data_shards.readers import Found, Reader, ReadOptions, reader_for
from data_shards.resampling import FILTER, resample
from data_shards.wear import WEAR_RULE, detect
from harnet.errors import HarnetError

log = logging.getLogger(__name__)

PREPROCESSING = Preprocessing(rate=RATE, units="g", counts_per_g=COUNTS_PER_G, filter=FILTER, wear_rule=WEAR_RULE)
"""Kept with every recording; a store whose recordings differ in it holds signals that cannot be compared."""

Status = Literal["ingested", "already there", "refused"]


@dataclass(frozen=True)
class IngestOptions:
    """What a user decides about an ingest."""

    read: ReadOptions = field(default_factory=ReadOptions)
    """Columns and units of tables."""
    participant_pattern: str | None = None
    """Regular expression with one group, searched in the path as given, that is the participant; None: one
    participant a file, named after it."""
    min_seconds: float = 10.0
    """Recordings without a gap-free stretch this long (one window) are refused."""

    def __post_init__(self) -> None:
        if self.min_seconds <= 0:
            raise HarnetError(f"--min-seconds {self.min_seconds:g}: give the length of a window, such as 10")
        if self.participant_pattern is None:
            return
        try:
            groups = re.compile(self.participant_pattern).groups
        except re.error as error:
            raise HarnetError(f"--participant-pattern {self.participant_pattern!r}: {error}") from error
        if groups != 1:
            raise HarnetError(
                f"--participant-pattern {self.participant_pattern!r}: has {groups} groups; put one pair of "
                "parentheses round the participant, such as '(P[0-9]+)'"
            )


@dataclass(frozen=True)
class Outcome:
    """What became of one recording, or of one file in which none could be found."""

    source: str
    """Path of the file as given."""
    status: Status
    """"ingested", "already there" (same bytes, same settings) or "refused"."""
    reason: str = ""
    """Why it was refused, in one line that names the file."""
    recording: str | None = None
    """Name in the store; None if refused."""
    complete_seconds: int = 0
    """Seconds of signal without a missing sample."""
    worn_seconds: int = 0
    """Those of them in which the device was worn."""
    notes: tuple[str, ...] = ()
    """What the reader dropped or repaired."""


@dataclass(frozen=True)
class Plan:
    """What will be read."""

    files: tuple[Path, ...]
    """Device files, each once, in the order given."""
    refused: tuple[Outcome, ...]
    """Files that are known to be unusable before any is read."""
    skipped: tuple[str, ...]
    """Paths of the other files inside the folders given."""


def plan(paths: Sequence[Path], options: IngestOptions) -> Plan:
    """List the device files: those named, and those inside the folders named that a reader recognises."""
    files: dict[Path, Path] = {}
    by_name: dict[str, list[Path]] = defaultdict(list)
    refused: list[Outcome] = []
    skipped: list[str] = []
    for path, named in _walk(paths):
        if (key := path.resolve()) in files:
            continue
        try:
            label = _reader(path, options).label(path)
            name = identity(path, label, None, options)[0] if label is not None else None
        except HarnetError as error:
            if named:
                refused.append(Outcome(str(path), "refused", str(error)))
            else:
                skipped.append(str(path))
            continue
        files[key] = path
        if name is not None:
            by_name[name].append(path)
    clashes = {path: same for same in by_name.values() if len(same) > 1 for path in same}
    for path, same in clashes.items():
        other = next(each for each in same if each != path)
        reason = (
            f"{path}: would get the same name as {other}: tell them apart with --participant-pattern, or rename one"
        )
        refused.append(Outcome(str(path), "refused", reason))
    return Plan(tuple(path for path in files.values() if path not in clashes), tuple(refused), tuple(skipped))


def ingest(
    paths: Sequence[Path], out: Path, options: IngestOptions, workers: int = 1
) -> tuple[list[Outcome], tuple[str, ...]]:
    """Add all recordings in `paths` to the store at `out`, which is made if need be.

    Returns the outcomes, in the order of the files, and the paths of other files skipped in folders.
    Raises `HarnetError` if there is no device file, and OSError (disk full) with what is finished kept.
    """
    planned = plan(paths, options)
    if not planned.files and not planned.refused:
        found = f"; {listed(planned.skipped)} of no known kind, name one to see why" if planned.skipped else ""
        raise HarnetError(f"{', '.join(map(str, paths)) or 'no input'}: no device file in there{found}")
    outcomes = list(planned.refused)
    if planned.files:
        work = partial(ingest_file, cohort=Cohort.create(out), options=options)
        for some in run_all(work, planned.files, workers, "ingest", "file"):
            outcomes += some
    return outcomes, planned.skipped


def listed(paths: Sequence[str]) -> str:
    """How many files, and the names of the first three."""
    names = ", ".join(Path(path).name for path in paths[:3])
    return f"{len(paths)} files ({names}{', …' if len(paths) > 3 else ''})"


def ingest_file(path: Path, cohort: Cohort, options: IngestOptions) -> list[Outcome]:
    """Add the recordings in one file to the store; trouble with the file is an outcome, trouble with the store raises.

    Raises OSError if the store cannot be written to.
    """
    outcomes: list[Outcome] = []
    try:
        reader = _reader(path, options)
        source = _source(path, reader, options)
        label = reader.label(path)
        if label is not None:
            name, _ = identity(path, label, None, options)
            if name in cohort:
                return [_compare(path, cohort.info(name), source)]
        for found in _recordings(reader, path, options):
            outcomes.append(_add(found, path, cohort, source, options))
    except HarnetError as error:
        outcomes.append(Outcome(str(path), "refused", str(error)))
    return outcomes


def identity(path: Path, label: str, participant: str | None, options: IngestOptions) -> tuple[str, str]:
    """The names (recording, participant) of a recording, safe for the store.

    `participant` is the one given inside the file, which needs no pattern.
    """
    if participant is not None:
        return sanitised(label), sanitised(participant)
    if options.participant_pattern is None:
        return sanitised(label), sanitised(label)
    match = re.search(options.participant_pattern, str(path))
    if match is None or not match[1]:
        raise HarnetError(f"{path}: --participant-pattern {options.participant_pattern!r} finds no participant in it")
    participant = sanitised(match[1])
    return participant if participant == sanitised(label) else sanitised(f"{participant}_{label}"), participant


def _add(found: Found, path: Path, cohort: Cohort, source: Source, options: IngestOptions) -> Outcome:
    """Check, resample and write one recording."""
    recording = found.recording
    name, participant = identity(path, found.label, found.participant, options)
    if name in cohort:
        return _compare(path, cohort.info(name), source)
    try:
        check(recording, str(path) if found.participant is None else f"{path} ({name})", options.min_seconds)
    except HarnetError as error:
        return Outcome(str(path), "refused", str(error))
    first_hour, accel = resample(recording.times, recording.acceleration)
    worn = detect(accel)
    info = RecordingInfo(
        recording=name,
        participant=participant,
        first_hour=first_hour,
        hours=accel.shape[1] // SAMPLES_PER_HOUR,
        device=recording.device,
        clock=recording.clock,
        nominal_rate=recording.nominal_rate,
        worn_seconds_by_hour=tuple(map(int, worn.wear.reshape(-1, SECONDS_PER_HOUR).sum(axis=1, dtype=int))),
        complete_seconds=worn.complete_seconds,
        notes=recording.notes,
        metadata=recording.metadata,
        source=source,
        preprocessing=PREPROCESSING,
        package_version=importlib.metadata.version("harnet"),
    )
    cohort.write(info, accel, worn.motion, worn.wear)
    return _outcome(path, info, "ingested")


def _compare(path: Path, there: RecordingInfo, source: Source) -> Outcome:
    """The name is taken: by the same recording, or by another."""
    known = there.source
    if (known["bytes"], known["xxh3"]) != (source["bytes"], source["xxh3"]):
        reason = (
            f"{path}: its name is taken by another recording, from {known['name']} ({known['bytes']} bytes, "
            f"xxh3 {known['xxh3']}): tell them apart with --participant-pattern, or rename the file"
        )
    elif known["settings"] != source["settings"] or there.preprocessing != PREPROCESSING:
        reason = f"{path}: is there already, ingested with other settings: use the same ones, or another --out"
    else:
        return _outcome(path, there, "already there")
    return Outcome(str(path), "refused", reason)


def _outcome(path: Path, info: RecordingInfo, status: Status) -> Outcome:
    return Outcome(str(path), status, "", info.recording, info.complete_seconds, info.worn_seconds, info.notes)


def _reader(path: Path, options: IngestOptions) -> Reader:
    try:
        return reader_for(path, options.read)
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error


def _recordings(reader: Reader, path: Path, options: IngestOptions) -> Iterator[Found]:
    """What the reader finds; a fault in a reader is shown whole, and counts against its file alone."""
    try:
        yield from reader.read(path, options.read)
    except HarnetError:
        raise
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        log.exception("%s: the reader of %s failed; please report this", path, reader.kind)
        raise HarnetError(f"{path}: the reader failed ({type(error).__name__}: {error}): please report this") from error


def _source(path: Path, reader: Reader, options: IngestOptions) -> Source:
    digest = xxhash.xxh3_64()
    size = 0
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
                size += len(piece)
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error
    return Source(
        name=path.name,
        bytes=size,
        xxh3=digest.hexdigest(),
        kind=reader.kind,
        settings=reader.settings(options.read),
    )


def _walk(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Every file, and whether it was named itself; folders are walked in sorted order."""
    for path in paths:
        if not path.is_dir():
            yield path, True
            continue
        for folder, folders, names in os.walk(path):
            # A cohort inside the folder is output, and its files are many.
            folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
            for name in sorted(names):
                if not name.startswith("."):
                    yield Path(folder) / name, False
