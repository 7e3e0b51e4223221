"""Metadata of a stored recording: a small JSON document beside the arrays."""

from dataclasses import dataclass
from typing import Any, TypedDict

from data_shards.notes import Note

SYNTHETIC = "synthetic"
"""`RecordingInfo.device` of synthetic people; all output about them is marked as synthetic."""


class SourceFile(TypedDict):
    """The file that a recording came from, and how it was read."""

    name: str
    """File name without its folder."""
    bytes: int
    """Size of the file."""
    mtime_ns: int
    """Modification time in nanoseconds since 1970; a second run compares only name, size and this."""
    xxh3: str
    """xxh3-64 of the whole file, in hexadecimal."""
    kind: str
    """`Reader.kind`."""
    settings: dict[str, str]
    """User options that affect reading: `Reader.settings` (columns and units of a table), and any time zone."""


class Preprocessing(TypedDict):
    """Preprocessing applied to every signal: recordings with equal values are comparable across devices."""

    rate: int
    """Stored sampling rate in Hz."""
    units: str
    """Unit of the signal before scaling to integers."""
    counts_per_g: int
    """Stored integer that represents 1 g."""
    filter: str
    """Resampling filter from the device's sampling rate to `rate`."""
    calibration: str
    """Calibration method, applied if possible."""
    wear_rule: str
    """Rule that distinguishes wear from non-wear."""


class Calibration(TypedDict):
    """Calibration of the axes against gravity: stored g = gain · g + offset + slope · (°C − mean °C)."""

    calibrated: bool
    """Whether the recording was long and varied enough, and its calibrated gravity is 1 g within the limit."""
    reason: str
    """Why it was not calibrated, human-readable; empty if it was."""
    gain: list[float]
    """(3,) gain that was applied; 1 if not calibrated."""
    offset: list[float]
    """(3,) offset in g that was applied; 0 if not calibrated."""
    slope: list[float]
    """(3,) slope in g per °C that was applied; 0 if not calibrated or without a thermometer."""
    mean_celsius: float
    """Mean temperature of the still windows; 0 without a thermometer."""
    error_before_mg: float
    """Mean absolute difference in mg between still windows' norm and 1 g, as recorded; -1 if too few still windows."""
    error_after_mg: float
    """The same after calibration; equal to `error_before_mg` if not calibrated."""
    still_windows: int
    """Number of still ten-second windows."""


class Quality(TypedDict):
    """Measures that a `QualityPolicy` evaluates; the store itself excludes nothing because of them."""

    clipped_share: float
    """Fraction of the device's samples with an axis at full scale; 0 if the range is unknown."""
    interruptions: int
    """Number of gaps inside the recording, as seen by the resampler."""
    interrupted_seconds: float
    """Total length of the gaps in seconds."""
    worn_seconds_by_clock_hour: list[int]
    """(24,) wear time in seconds per hour of the day, by the wall clock if the time zone is known."""
    mean_enmo_mg: float
    """Mean of max(|a| - 1 g, 0) at 30 Hz over worn seconds (ENMO; van Hees et al. 2013, PLoS ONE 8(4):e61691)."""


class WallShift(TypedDict):
    """Difference between the wall clock and the recording's clock from a given moment on."""

    from_second: int
    """Seconds since 1970 on the recording's clock, from which it applies."""
    add_seconds: int
    """Seconds to add to the recording's clock to get local wall-clock time."""


@dataclass(frozen=True)
class RecordingInfo:
    """Metadata of a stored recording."""

    recording: str
    """Name in the store: letters, digits, `_`, `-` and `.`."""
    participant: str
    """Pseudonym of the wearer; all recordings of one person share it."""
    first_hour: int
    """Hours since 1970-01-01 00:00 on the device's clock at which the arrays begin."""
    hours: int
    """Length of the arrays in hours."""
    device: str
    """Manufacturer and model."""
    clock: str
    """"utc", "local" or "none", as in `Recording.clock`."""
    wall_shifts: tuple[WallShift, ...]
    """Time zone and daylight saving, in order of time; empty if only the recording's clock is known."""
    nominal_rate: float
    """Configured sampling rate of the device in Hz."""
    worn_seconds_by_hour: tuple[int, ...]
    """(hours,) complete and worn seconds per hour, so that planning shards does not read the signal."""
    complete_seconds: int
    """Number of seconds without a missing sample."""
    calibration: Calibration
    """Calibration of the axes."""
    quality: Quality
    """Quality measures."""
    notes: tuple[Note, ...]
    """What was dropped, repaired or observed."""
    metadata: dict[str, str | int | float]
    """Entries of the device file's header."""
    source: SourceFile
    """The file it came from."""
    preprocessing: Preprocessing
    """Preprocessing applied."""
    package_version: str
    """Version of harnet that wrote it. For information only: an upgrade alone changes no number."""
    participant_xxh3: str = ""
    """xxh3-64, in hexadecimal, of the participant as found, before special characters were replaced by `_`;
    distinguishes two people whose names become equal. Empty if unknown."""

    @property
    def worn_seconds(self) -> int:
        """Number of complete and worn seconds."""
        return sum(self.worn_seconds_by_hour)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RecordingInfo":
        """The inverse of `dataclasses.asdict` through JSON; TypeError or KeyError if `values` has another form."""
        tuples = {key: tuple(values[key]) for key in ("worn_seconds_by_hour", "wall_shifts")}
        notes = tuple(map(Note.from_json, values["notes"]))
        return cls(**{**values, **tuples, "notes": notes})
