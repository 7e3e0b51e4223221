"""What a user decides about an ingest."""

import math
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
    """Options of an ingest."""

    read: ReadOptions = field(default_factory=ReadOptions)
    """Columns and units of tables."""
    participant_pattern: str | None = None
    """Regular expression whose one group matches the participant in the file's path; None means that each file is its
    own participant, named after it."""
    min_seconds: float = 10.0
    """Recordings without a gap-free stretch of this length in seconds (one window) are refused."""
    timezone: str | None = None
    """Time zone of the wearers, such as "Europe/London"; None if only the device's clock is known."""
    clock_timezone: str | None = None
    """Time zone that device clocks were set to, if it differs from the wearers'."""
    time_shift: int = 0
    """Seconds by which device clocks were behind."""
    known_devices: KnownDevices | None = None
    """Calibrations of devices, for recordings that cannot be calibrated themselves."""
    exclude: frozenset[str] = frozenset()
    """Participants whose recordings are not ingested."""
    part: Part = field(default_factory=lambda: Part(1, 1))
    """Share of the files to process."""
    listing: Path | None = None
    """File in which the first part stores the list of files for the others; None: each part lists them itself."""

    def __post_init__(self) -> None:
        if not 0 < self.min_seconds < math.inf:
            raise HarnetError(f"--min-seconds {self.min_seconds:g}: pass the length of a window, such as 10")
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
                "parentheses around the participant, such as '(P[0-9]+)'"
            )

    def clocks(self) -> Clocks:
        """The clock options; `HarnetError` for a zone that does not exist or cannot be used."""
        if self.clock_timezone is not None and self.timezone is None:
            raise HarnetError(
                f"--clock-timezone {self.clock_timezone}: pass --timezone too: the time zone of the wearers"
            )
        return Clocks(
            place=None if self.timezone is None else zone(self.timezone),
            device=None if self.clock_timezone is None else zone(self.clock_timezone, "--clock-timezone"),
            behind=self.time_shift,
        )

    def preparation(self) -> Preparation:
        """Options of the preparation of recordings."""
        return Preparation(self.min_seconds, self.clocks(), self.known_devices)

    def settings(self) -> dict[str, str]:
        """Options that affect what is stored, to be stored with the data."""
        said = {
            "timezone": self.timezone,
            "clock_timezone": self.clock_timezone,
            "time_shift": str(self.time_shift) if self.time_shift else None,
            "calibration": None if self.known_devices is None else self.known_devices.digest,
        }
        return {key: value for key, value in said.items() if value is not None}
