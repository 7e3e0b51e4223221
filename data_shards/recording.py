"""The output of every device reader: one recording as a stream of samples in g with their true times."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_shards.notes import Note


class SampleChunk(NamedTuple):
    """Consecutive samples, as many as a reader decodes at a time."""

    times: NDArray[np.float64]
    """(n,) seconds since 1970-01-01 00:00 on the device's clock, strictly increasing within and across chunks."""
    acceleration: NDArray[np.float32]
    """(n, 3) in g, axes in the device's order."""


@dataclass(frozen=True)
class Temperature:
    """Temperature measured by the device, with its own timestamps on the recording's clock."""

    times: NDArray[np.float64]
    """(m,) seconds since 1970-01-01 00:00, strictly increasing."""
    celsius: NDArray[np.float32]
    """(m,) degrees Celsius."""

    def __post_init__(self) -> None:
        assert self.times.shape == self.celsius.shape


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Metadata of a recording, known before its samples are read."""

    nominal_rate: float
    """Configured sampling rate in Hz; for a table, the most common rate of its timestamps."""
    device: str
    """Manufacturer and model, such as "Axivity AX3"."""
    clock: str
    """"utc", "local" (wall clock, time zone unknown) or "none" (no clock: times start at 0)."""
    range_g: float | None = None
    """Full scale in g: the largest value that the device can record on an axis; None if unknown."""
    utc_offset: int | None = None
    """UTC offset in seconds of a "local" clock; None if the file does not state it."""
    metadata: dict[str, str | int | float] = field(default_factory=dict)
    """Entries of the file's header. Never a name or a date of birth."""

    def __post_init__(self) -> None:
        assert self.clock in ("utc", "local", "none")


@dataclass(frozen=True, kw_only=True)
class Recording(Facts):
    """One recording as measured: not resampled, no gap filled, no sample invented.

    Times may be irregular. A gap is a jump in time, which later stages handle. A year at 100 Hz is 3 billion samples,
    so they are streamed in chunks, once, and only until the next recording of the file is requested.
    """

    pieces: Iterator[SampleChunk]
    """All samples; can be iterated once. Raises `HarnetError` if the file turns out to be unusable."""
    notes: Callable[[], tuple[Note, ...]] = tuple
    """What was dropped or repaired (`data_shards.readers.oddities`); complete once `pieces` is exhausted."""
    temperature: Callable[[], Temperature | None] = lambda: None
    """Device temperature, for calibration; complete once `pieces` is exhausted. None if it was not recorded."""

    def load(self) -> "Loaded":
        """Load all samples into memory: 20 bytes per sample, 1.2 GB for a week at 100 Hz."""
        pieces = list(self.pieces)
        return Loaded(
            times=np.concatenate([np.empty(0), *(piece.times for piece in pieces)]),
            acceleration=np.concatenate([np.empty((0, 3), np.float32), *(piece.acceleration for piece in pieces)]),
            notes=self.notes(),
            temperature=self.temperature(),
            **_facts(self),
        )


@dataclass(frozen=True, kw_only=True)
class Loaded(Facts):
    """A recording in memory."""

    times: NDArray[np.float64]
    """(n,) as in `SampleChunk`."""
    acceleration: NDArray[np.float32]
    """(n, 3) as in `SampleChunk`."""
    notes: tuple[Note, ...] = ()
    """What was dropped or repaired."""
    temperature: Temperature | None = None
    """Device temperature; None if it was not recorded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.acceleration.shape == (len(self.times), 3)

    def stream(self) -> Recording:
        """The same recording as a stream of one chunk."""
        return Recording(
            pieces=iter((SampleChunk(self.times, self.acceleration),)),
            notes=lambda: self.notes,
            temperature=lambda: self.temperature,
            **_facts(self),
        )


def _facts(recording: Facts) -> dict[str, Any]:
    return {field.name: getattr(recording, field.name) for field in fields(Facts)}
