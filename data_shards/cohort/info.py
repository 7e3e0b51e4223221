"""What is known of a stored recording without reading its signal: a small JSON document beside the arrays."""

from dataclasses import dataclass
from typing import Any, TypedDict

from data_shards.notes import Note

SYNTHETIC = "synthetic"
"""`RecordingInfo.device` of people made by formula: whatever is shown of them says so."""


class SourceFile(TypedDict):
    """The file that a recording came from, and how it was read."""

    name: str
    """File name without its folder."""
    bytes: int
    """Size of the file."""
    mtime_ns: int
    """When it was last changed, in nanoseconds since 1970: with name and size, all that a second run looks at."""
    xxh3: str
    """XXH3, 64 bits, in hexadecimal, of the whole file."""
    kind: str
    """`Reader.kind`."""
    settings: dict[str, str]
    """What the user said of it: `Reader.settings` (columns and units of a table), and the time zone if given."""


class Preprocessing(TypedDict):
    """What was done to every signal alike: recordings with equal values can be compared, whatever the device."""

    rate: int
    """Samples per second as stored."""
    units: str
    """Unit of the signal, before it is scaled to integers."""
    counts_per_g: int
    """Stored integer that is 1 g."""
    filter: str
    """How the device's rate became `rate`."""
    calibration: str
    """How the axes were calibrated, where they could be."""
    wear_rule: str
    """How wear was told from non-wear."""


class Calibration(TypedDict):
    """Calibration of the axes against gravity: stored g = gain · g + offset + slope · (°C − mean °C)."""

    calibrated: bool
    """Whether the recording was long and varied enough, and gravity is 1 g afterwards within the limit."""
    reason: str
    """Why not, for people; empty if calibrated."""
    gain: list[float]
    """(3,) applied; 1 if not calibrated."""
    offset: list[float]
    """(3,) in g, applied; 0 if not calibrated."""
    slope: list[float]
    """(3,) in g per °C, applied; 0 if not calibrated or without a thermometer."""
    mean_celsius: float
    """Mean temperature of the still windows; 0 without a thermometer."""
    error_before_mg: float
    """Mean distance of still windows' norm from 1 g, as recorded; -1 where there are too few still windows."""
    error_after_mg: float
    """The same after calibration; equal to the former if not calibrated."""
    still_windows: int
    """Still ten-second windows found."""


class Quality(TypedDict):
    """Facts that a `QualityPolicy` judges; nothing is left out of the store for them."""

    clipped_share: float
    """Share of the device's samples with an axis at its full scale; 0 where the range is not known."""
    interruptions: int
    """Gaps inside the recording, as the resampler sees them."""
    interrupted_seconds: float
    """Their summed length."""
    worn_seconds_by_clock_hour: list[int]
    """(24,) worn seconds in each hour of the day, by the wall clock where the time zone is known."""
    mean_enmo_mg: float
    """Mean over worn seconds of max(|a| - 1 g, 0) at 30 Hz (ENMO; van Hees et al. 2013, PLoS ONE 8(4):e61691)."""


class WallShift(TypedDict):
    """From one moment of the recording on, the wall clock differs from the recording's clock by so much."""

    from_second: int
    """Seconds since 1970 on the recording's clock."""
    add_seconds: int
    """What to add to the recording's clock for the wall clock of the place."""


@dataclass(frozen=True)
class RecordingInfo:
    """What is known of a stored recording without reading its signal."""

    recording: str
    """Name in the store: letters, digits, `_`, `-` and `.`."""
    participant: str
    """Pseudonym of the wearer; all recordings of one person share it."""
    first_hour: int
    """Clock hour since 1970-01-01 00:00, on the device's clock, at which the arrays begin."""
    hours: int
    """Length of the arrays in hours."""
    device: str
    """Maker and model."""
    clock: str
    """"utc", "local" or "none", as in `Recording.clock`."""
    wall_shifts: tuple[WallShift, ...]
    """Daylight saving and time zone, in order of time; empty where the recording's clock is all that is known."""
    nominal_rate: float
    """Hz that the device was set to."""
    worn_seconds_by_hour: tuple[int, ...]
    """(hours,) complete seconds in which the device was worn, so that a planner need not open the signal."""
    complete_seconds: int
    """Seconds without a missing sample."""
    calibration: Calibration
    """How the axes were calibrated."""
    quality: Quality
    """What a quality policy judges."""
    notes: tuple[Note, ...]
    """What was dropped, mended or seen."""
    metadata: dict[str, str | int | float]
    """Facts from the device file's header."""
    source: SourceFile
    """Where it came from."""
    preprocessing: Preprocessing
    """What was done to it."""
    package_version: str
    """Version of harnet that wrote it. No setting: an upgrade alone changes no number."""
    participant_xxh3: str = ""
    """XXH3, 64 bits, in hexadecimal, of the participant as it was found, before other characters became `_`: two people
    whose names become one are told apart by it. Empty where that is not known."""

    @property
    def worn_seconds(self) -> int:
        """Complete seconds in which the device was worn."""
        return sum(self.worn_seconds_by_hour)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RecordingInfo":
        """The inverse of `dataclasses.asdict` through JSON; TypeError or KeyError if `values` is something else."""
        tuples = {key: tuple(values[key]) for key in ("worn_seconds_by_hour", "wall_shifts")}
        notes = tuple(map(Note.from_json, values["notes"]))
        return cls(**{**values, **tuples, "notes": notes})
