"""The files of an ingest: listed, divided over a job array, named, and recognised later without reading them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import xxhash

from data_shards.cohort.info import SourceFile
from data_shards.ingest.identities import Identity, advice, identity, shared_names
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.walk import files_below, listed_below
from data_shards.readers import DeviceReader, reader_for
from data_shards.readers.device_reader import Unusable
from harnet.errors import HarnetError


@dataclass(frozen=True)
class PlannedFile:
    """One device file."""

    path: Path
    """Path as given, or below the given folder."""
    kind: str
    """Kind of device, human-readable."""
    identity: Identity | None
    """Names of its recording; None if they are inside the file."""


@dataclass(frozen=True)
class IngestPlan:
    """The files to read."""

    files: tuple[PlannedFile, ...]
    """Device files, each once, in the order given."""
    refused: tuple[tuple[Path, str], ...]
    """Files known to be unusable before reading, and why."""
    skipped: tuple[str, ...]
    """Paths of other files inside the given folders."""


def plan_ingest(paths: Sequence[Path], options: IngestOptions) -> IngestPlan:
    """List this part's device files: the given files, and those in the given folders that a reader recognises.

    Files are divided over the parts before any is opened. If two recordings in different parts have the same name, the
    store refuses the second.

    Raises:
        HarnetError: there is no device file.
    """
    found = files_below(paths) if options.listing is None else listed_below(paths, options.listing)
    files: list[PlannedFile] = []
    refused: list[tuple[Path, str]] = []
    skipped: list[str] = []
    for path, named in options.part.of(found):
        try:
            reader = known_reader(path, options)
        except HarnetError as error:
            if named or isinstance(error, Unusable):
                refused.append((path, str(error)))
            else:
                skipped.append(str(path))
            continue
        try:
            label = reader.label(path)
            names = None if label is None else identity(path, label, None, options)
        except HarnetError as error:
            refused.append((path, str(error)))
            continue
        files.append(PlannedFile(path, reader.kind, names))
    clashes = _clashes(files, [path for path, _ in found], options)
    refused += clashes.items()
    files = [file for file in files if file.path not in clashes]
    if not (files or refused or (found and options.part.count > 1)):
        among = f"; {first_names_of(skipped)} of unknown format; pass one to see why" if skipped else ""
        raise HarnetError(f"{', '.join(map(str, paths)) or 'no input'}: no device file found{among}")
    return IngestPlan(tuple(files), tuple(refused), tuple(skipped))


def one_name(path: Path, other: str) -> str:
    """Message for a file whose participant differs from that of `other` but would get the same name."""
    return (
        f"{path}: its participant would get the same name as another one, that of {other}, since only letters, digits, "
        "'_', '-' and '.' are kept: rename one of them"
    )


def _clashes(files: Sequence[PlannedFile], everything: Sequence[Path], options: IngestOptions) -> dict[Path, str]:
    """Files whose names clash with others, and the message for each."""
    by_recording: dict[str, list[Path]] = defaultdict(list)
    shared = shared_names(everything, options)
    clashes: dict[Path, str] = {}
    for file in files:
        if file.identity is None:
            continue
        by_recording[file.identity.recording].append(file.path)
        for found, other in shared.get(file.identity.participant, {}).items():
            if found != file.identity.found:
                clashes[file.path] = one_name(file.path, str(other))
    for same in by_recording.values():
        for path in same if len(same) > 1 else ():
            other = next(each for each in same if each != path)
            clashes[path] = f"{path}: would get the same name as {other}: {advice(options)}"
    return clashes


def first_names_of(paths: Sequence[str]) -> str:
    """Number of files, and the names of the first three."""
    names = ", ".join(Path(path).name for path in paths[:3])
    return f"{len(paths)} files ({names}{', …' if len(paths) > 3 else ''})"


def known_reader(path: Path, options: IngestOptions) -> DeviceReader:
    """The reader for a file; `HarnetError` if its format is unknown, `Unusable` if it cannot be read."""
    try:
        return reader_for(path, options.read)
    except OSError as error:
        # What it holds is unknown: behind a broken link there may be a whole site.
        raise Unusable(f"{path}: cannot be read ({error.strerror})") from error


def unhashed(path: Path, reader: DeviceReader, options: IngestOptions) -> SourceFile:
    """Identification of a file without reading it; its `xxh3` is empty."""
    try:
        about = path.stat()
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error
    return SourceFile(
        name=path.name,
        bytes=about.st_size,
        mtime_ns=about.st_mtime_ns,
        xxh3="",
        kind=reader.kind,
        settings={**reader.settings(options.read), **options.settings()},
    )


def hashed(path: Path, source: SourceFile) -> SourceFile:
    """The same with the hash of the whole file."""
    digest = xxhash.xxh3_64()
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error
    return {**source, "xxh3": digest.hexdigest()}
