"""What a user says about device files, to every command that reads them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from data_shards.withdrawals import read_ids

if TYPE_CHECKING:
    from data_shards.ingest.ingest_options import IngestOptions


@dataclass(frozen=True)
class FileOptions:
    """What device files do not say themselves; a cohort store knows all of it already."""

    units: Literal["g", "m/s2", "mg"] = "g"
    """Unit of the acceleration in CSV tables; device formats know theirs."""
    columns: Annotated[tuple[str, str, str, str], tyro.conf.arg(metavar="TIME X Y Z")] = ("time", "x", "y", "z")
    """Column names of CSV tables, or numbers from 1. Times are UNIX seconds, seconds from the start, or ISO 8601."""
    rate: float | None = None
    """Samples per second of CSV tables in which many samples share a stamp; by default the stamps tell it."""
    day_first: bool = False
    """Dates such as 05/06/2024 in CSV tables begin with the day."""
    participant_pattern: str | None = None
    """Regular expression with one group that finds the participant in a file's path, as given or absolute; by default
    every file is a participant of its own, named after the file (Empatica: after its folder)."""
    timezone: str | None = None
    """Where the wearers were, such as Europe/London, so that days and their hours follow the clock on the wall."""
    clock_timezone: str | None = None
    """To whose local time devices were set, such as America/New_York, where that is not the wearers' --timezone."""
    time_shift: str = "0"
    """What to add to devices' clocks for the right time: seconds, or hours and minutes, such as --time-shift=-1:00."""
    calibration: Path | None = None
    """File that `harnet calibration` wrote: for recordings too short to be calibrated, of devices that are in it."""
    exclude: Path | None = None
    """Text file with one participant id a line: nothing of theirs is read."""

    def excluded(self) -> frozenset[str]:
        """Participants of whom nothing is read."""
        return frozenset() if self.exclude is None else read_ids(self.exclude)

    def ingest_options(self) -> "IngestOptions":
        """The same for `data_shards.ingest`; HarnetError where a value cannot work."""
        # Not above: whoever has a store already needs none of the readers, which take 80 MB.
        from data_shards.ingest import known_devices
        from data_shards.ingest.daylight import seconds_of
        from data_shards.ingest.ingest_options import IngestOptions
        from data_shards.readers import ReadOptions

        read = ReadOptions(self.columns, self.units, self.rate, self.day_first, self.clock_timezone or self.timezone)
        return IngestOptions(
            read,
            self.participant_pattern,
            timezone=self.timezone,
            clock_timezone=self.clock_timezone,
            time_shift=seconds_of(self.time_shift),
            known_devices=None if self.calibration is None else known_devices.read(self.calibration),
            exclude=self.excluded(),
        )
