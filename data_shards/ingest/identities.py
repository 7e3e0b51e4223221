"""Names of recordings and participants in the store, and detection of name clashes."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import xxhash

from data_shards.cohort.store import sanitised
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.layout import LONGEST_NAME
from harnet.errors import HarnetError


@dataclass(frozen=True)
class Identity:
    """The names of one recording."""

    recording: str
    """Name of the recording in the store: letters, digits, `_`, `-` and `.`."""
    participant: str
    """Name of the participant in the store, with the same characters."""
    found: str
    """The participant as found in the path or the file, before other characters were replaced by `_`."""

    @property
    def digest(self) -> str:
        """xxh3 of `found`: shows whether two participants with equal names are the same, without revealing them."""
        return xxhash.xxh3_64_hexdigest(self.found.encode("utf-8", "surrogateescape"))


def identity(path: Path, label: str, participant: str | None, options: IngestOptions) -> Identity:
    """The names of a recording in the file `path`.

    Args:
        path: As the user gave it.
        label: Distinguishes the recording from others in the file.
        participant: Participant stated inside the file, which needs no pattern.
        options: Options with the participant pattern.

    Raises:
        HarnetError: the pattern matches nothing, or two different participants; or the name is too long.
    """
    recording = sanitised(label)
    if participant is not None:
        found = participant
    elif options.participant_pattern is None:
        found = label
    else:
        found = _participant(path, options.participant_pattern)
        if sanitised(found) != recording:
            recording = sanitised(f"{sanitised(found)}_{label}")
    if len(recording) > LONGEST_NAME:
        raise HarnetError(
            f"{path}: the name of its recording would have {len(recording)} characters, a shard allows {LONGEST_NAME}: "
            "give the file a shorter name"
        )
    return Identity(recording, sanitised(found), found)


def _participant(path: Path, pattern: str) -> str:
    """Match the pattern in the path as given and in the absolute path, so the working folder does not matter."""
    absolute = os.path.abspath(path)
    matches = [re.search(pattern, text) for text in (str(path), absolute)]
    found = {match[1] for match in matches if match is not None and match[1]}
    if not found:
        raise HarnetError(f"{path}: --participant-pattern {pattern!r} matches no participant in {absolute}")
    if len(found) > 1:
        raise HarnetError(
            f"{path}: --participant-pattern {pattern!r} matches one participant there and another one in {absolute}: "
            "make it match in one place only"
        )
    return found.pop()


def advice(options: IngestOptions) -> str:
    """What helps if two files give one name. With a pattern, another one would make two people of one."""
    return (
        "rename one" if options.participant_pattern else "use --participant-pattern to distinguish them, or rename one"
    )


def shared_names(paths: Iterable[Path], options: IngestOptions) -> dict[str, dict[str, Path]]:
    """Name -> participant as found -> its first path, for names that refer to more than one participant."""
    if options.participant_pattern is None:
        return {}  # each recording is its own participant, and the store distinguishes recordings
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in paths:
        with suppress(HarnetError):
            participant = _participant(path, options.participant_pattern)
            found[sanitised(participant)].setdefault(participant, path)
    return {name: each for name, each in found.items() if len(each) > 1}
