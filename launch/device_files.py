"""Options about device files, shared by every command that reads them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from data_shards.withdrawals import read_ids

if TYPE_CHECKING:
    from data_shards.ingest.ingest_options import IngestOptions


@dataclass(frozen=True)
class FileOptions:
    """Metadata that device files do not contain; a cohort store already does."""

    units: Literal["g", "m/s2", "mg"] = "g"
    """Unit of the acceleration in CSV tables; device formats define theirs."""
    columns: Annotated[tuple[str, str, str, str], tyro.conf.arg(metavar="TIME X Y Z")] = ("time", "x", "y", "z")
    """Column names of CSV tables, or numbers from 1. Times are UNIX seconds, seconds from the start, or ISO 8601."""
    rate: float | None = None
    """Sampling rate (Hz) of CSV tables in which many samples share a timestamp; by default found from timestamps."""
    day_first: bool = False
    """In CSV tables, dates such as 05/06/2024 start with the day."""
    participant_pattern: str | None = None
    """Regular expression with one group that matches the participant in a file's path, as given or absolute; by default
    each file is its own participant, named after the file (Empatica: after its folder)."""
    timezone: str | None = None
    """Time zone of the wearers, such as Europe/London, so that days and hours follow the local wall clock."""
    clock_timezone: str | None = None
    """Time zone that device clocks were set to, such as America/New_York, if it differs from --timezone."""
    time_shift: str = "0"
    """Correction to add to device clocks: seconds, or hours and minutes, such as --time-shift=-1:00."""
    calibration: Path | None = None
    """File written by `harnet calibration`, for recordings too short to be calibrated themselves."""
    exclude: Path | None = None
    """Text file with one participant id per line; their recordings are not read."""

    def excluded(self) -> frozenset[str]:
        """Ids of excluded participants."""
        return frozenset() if self.exclude is None else read_ids(self.exclude)

    def ingest_options(self) -> "IngestOptions":
        """These options for `data_shards.ingest`; HarnetError for invalid values."""
        # Imported here: with an existing store the readers, which take 80 MB, are not needed.
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
