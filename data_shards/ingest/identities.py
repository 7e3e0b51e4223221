"""What a recording and its participant are called in the store, and that no two get one name unseen."""

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
    """In the store: letters, digits, `_`, `-` and `.`."""
    participant: str
    """Likewise."""
    found: str
    """The participant as it stands in the path or the file, before other characters became `_`."""

    @property
    def digest(self) -> str:
        """XXH3 of `found`: tells whether two participants of one name are the same, without saying more."""
        return xxhash.xxh3_64_hexdigest(self.found.encode("utf-8", "surrogateescape"))


def identity(path: Path, label: str, participant: str | None, options: IngestOptions) -> Identity:
    """The names of a recording in the file `path`.

    Args:
        path: As the user gave it.
        label: What tells the recording from others.
        participant: The one given inside the file, which needs no pattern.
        options: With the pattern.

    Raises:
        HarnetError: the pattern finds nobody, or two different people; or the name is too long.
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
            f"{path}: its recording would have a name of {len(recording)} characters, and {LONGEST_NAME} fit into a "
            "shard: give the file a shorter name"
        )
    return Identity(recording, sanitised(found), found)


def _participant(path: Path, pattern: str) -> str:
    """Searched in the path as given and in the absolute one, so that it does not matter where a command is started."""
    absolute = os.path.abspath(path)
    matches = [re.search(pattern, text) for text in (str(path), absolute)]
    found = {match[1] for match in matches if match is not None and match[1]}
    if not found:
        raise HarnetError(f"{path}: --participant-pattern {pattern!r} finds no participant in {absolute}")
    if len(found) > 1:
        raise HarnetError(
            f"{path}: --participant-pattern {pattern!r} finds one participant there and another one in {absolute}: "
            "make it fit at one place only"
        )
    return found.pop()


def shared_names(paths: Iterable[Path], options: IngestOptions) -> dict[str, dict[str, Path]]:
    """Names that stand for more than one participant, going by the pattern: each as it was found -> its first path."""
    if options.participant_pattern is None:
        return {}  # a participant is a recording then, and those are told apart by the store
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in paths:
        with suppress(HarnetError):
            participant = _participant(path, options.participant_pattern)
            found[sanitised(participant)].setdefault(participant, path)
    return {name: each for name, each in found.items() if len(each) > 1}
