"""What a user decides about an ingest."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from data_shards.ingest.daylight import Clocks, zone
from data_shards.ingest.known_devices import KnownDevices
from data_shards.ingest.preparation import Preparation
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
    clock_timezone: str | None = None
    """Zone to whose local time devices were set, where that is not the wearers'."""
    time_shift: int = 0
    """Seconds by which devices' clocks were behind."""
    known_devices: KnownDevices | None = None
    """Calibrations of devices, for recordings that cannot be calibrated by themselves."""
    exclude: frozenset[str] = frozenset()
    """Participants whose recordings are not ingested."""
    part: Part = field(default_factory=lambda: Part(1, 1))
    """Which files of those found."""
    listing: Path | None = None
    """Where the first part keeps the list of files found for all others; None: each finds them itself."""

    def __post_init__(self) -> None:
        if self.min_seconds <= 0:
            raise HarnetError(f"--min-seconds {self.min_seconds:g}: give the length of a window, such as 10")
        self.clocks()
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

    def clocks(self) -> Clocks:
        """What is known of clocks; `HarnetError` for a zone that does not exist, or that is of no use."""
        if self.clock_timezone is not None and self.timezone is None:
            raise HarnetError(
                f"--clock-timezone {self.clock_timezone}: give --timezone too: where the wearers of these devices were"
            )
        return Clocks(
            place=None if self.timezone is None else zone(self.timezone),
            device=None if self.clock_timezone is None else zone(self.clock_timezone, "--clock-timezone"),
            behind=self.time_shift,
        )

    def preparation(self) -> Preparation:
        """How recordings are prepared."""
        return Preparation(self.min_seconds, self.clocks(), self.known_devices)

    def settings(self) -> dict[str, str]:
        """What a user said that changes what is stored, to be kept with the data."""
        said = {
            "timezone": self.timezone,
            "clock_timezone": self.clock_timezone,
            "time_shift": str(self.time_shift) if self.time_shift else None,
            "calibration": None if self.known_devices is None else self.known_devices.digest,
        }
        return {key: value for key, value in said.items() if value is not None}
