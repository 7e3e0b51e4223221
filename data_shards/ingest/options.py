"""What a user decides about an ingest."""

import re
from dataclasses import dataclass, field

from data_shards.ingest.daylight import zone
from data_shards.readers import ReadOptions
from harnet.errors import HarnetError
from harnet.parts import Part


@dataclass(frozen=True)
class IngestOptions:
    """What a user decides about an ingest."""

    read: ReadOptions = field(default_factory=ReadOptions)
    """Columns and units of tables."""
    participant_pattern: str | None = None
    """Regular expression with one group, searched in the file's path, that is the participant; None: one participant a
    file, named after it."""
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
