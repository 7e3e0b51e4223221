"""Which files an ingest is about: found, shared out over a job array, named, and known again without reading them."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import xxhash

from data_shards.cohort.info import Source
from data_shards.cohort.store import sanitised
from data_shards.ingest.daylight import zone
from data_shards.readers import Reader, ReadOptions, reader_for
from harnet.errors import HarnetError
from harnet.parts import Part


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
    timezone: str | None = None
    """Where the wearers were, such as "Europe/London"; None: the device's clock is all that is known."""
    exclude: frozenset[str] = frozenset()
    """Participants whose recordings are not ingested."""
    part: Part = field(default_factory=lambda: Part(1, 1))
    """Which files of those found."""

    def __post_init__(self) -> None:
        if self.min_seconds <= 0:
            raise HarnetError(f"--min-seconds {self.min_seconds:g}: give the length of a window, such as 10")
        if self.timezone is not None:
            zone(self.timezone)
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
class Plan:
    """What will be read."""

    files: tuple[Path, ...]
    """Device files, each once, in the order given."""
    refused: tuple[tuple[Path, str], ...]
    """Files that are known to be unusable before any is read, and why."""
    skipped: tuple[str, ...]
    """Paths of the other files inside the folders given."""


def plan(paths: Sequence[Path], options: IngestOptions) -> Plan:
    """List this part's device files: those named, and those inside the folders named that a reader recognises.

    Files are shared out before any is opened, so of two with one name in different parts, the second to be ingested is
    refused by the store.

    Raises:
        HarnetError: there is no device file.
    """
    found: dict[Path, tuple[Path, bool]] = {}
    for path, named in _walk(paths):
        found.setdefault(path.resolve(), (path, named))
    files: list[Path] = []
    by_name: dict[str, list[Path]] = defaultdict(list)
    refused: list[tuple[Path, str]] = []
    skipped: list[str] = []
    for path, named in options.part.of(list(found.values())):
        try:
            label = known_reader(path, options).label(path)
            name = identity(path, label, None, options)[0] if label is not None else None
        except HarnetError as error:
            if named:
                refused.append((path, str(error)))
            else:
                skipped.append(str(path))
            continue
        files.append(path)
        if name is not None:
            by_name[name].append(path)
    clashes = {path: same for same in by_name.values() if len(same) > 1 for path in same}
    for path, same in clashes.items():
        other = next(each for each in same if each != path)
        reason = (
            f"{path}: would get the same name as {other}: tell them apart with --participant-pattern, or rename one"
        )
        refused.append((path, reason))
    files = [path for path in files if path not in clashes]
    if not (files or refused or (found and options.part.count > 1)):
        among = f"; {listed(skipped)} of no known kind, name one to see why" if skipped else ""
        raise HarnetError(f"{', '.join(map(str, paths)) or 'no input'}: no device file in there{among}")
    return Plan(tuple(files), tuple(refused), tuple(skipped))


def listed(paths: Sequence[str]) -> str:
    """How many files, and the names of the first three."""
    names = ", ".join(Path(path).name for path in paths[:3])
    return f"{len(paths)} files ({names}{', …' if len(paths) > 3 else ''})"


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


def known_reader(path: Path, options: IngestOptions) -> Reader:
    """The reader for a file; `HarnetError` if it is of no known kind or cannot be read."""
    try:
        return reader_for(path, options.read)
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error


def unhashed(path: Path, reader: Reader, options: IngestOptions) -> Source:
    """What tells a file from others without reading it; its `xxh3` is empty."""
    try:
        about = path.stat()
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error
    settings = reader.settings(options.read)
    return Source(
        name=path.name,
        bytes=about.st_size,
        mtime_ns=about.st_mtime_ns,
        xxh3="",
        kind=reader.kind,
        settings=settings if options.timezone is None else {**settings, "timezone": options.timezone},
    )


def hashed(path: Path, source: Source) -> Source:
    """The same with the hash of the whole file."""
    digest = xxhash.xxh3_64()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error
    return {**source, "xxh3": digest.hexdigest()}


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
