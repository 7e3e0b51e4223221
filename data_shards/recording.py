"""What every device reader returns: one recording as a stream of samples, with their real times and in g."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_shards.notes import Note


class SampleChunk(NamedTuple):
    """Some samples in a row, as many as a reader decodes at a time."""

    times: NDArray[np.float64]
    """(n,) seconds since 1970-01-01 00:00 on the device's own clock, strictly increasing, over all pieces too."""
    acceleration: NDArray[np.float32]
    """(n, 3) in g, axes as the device numbers them."""


@dataclass(frozen=True)
class Temperature:
    """What the device's thermometer read, at times of its own, on the recording's clock."""

    times: NDArray[np.float64]
    """(m,) seconds since 1970-01-01 00:00, strictly increasing."""
    celsius: NDArray[np.float32]
    """(m,) degrees Celsius."""

    def __post_init__(self) -> None:
        assert self.times.shape == self.celsius.shape


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a recording before its samples are read."""

    nominal_rate: float
    """Samples per second that the device was set to; of a table, what most of its times say."""
    device: str
    """Maker and model, such as "Axivity AX3"."""
    clock: str
    """"utc", "local" (wall clock of the place, zone unknown) or "none" (no clock: times start at 0)."""
    range_g: float | None = None
    """Full scale: the device cannot record more than this many g on an axis. None where that is not known."""
    utc_offset: int | None = None
    """Seconds by which the clock of a "local" device was ahead of UTC; None where its file does not say."""
    metadata: dict[str, str | int | float] = field(default_factory=dict)
    """Facts from the file's header. Never a name or a date of birth."""

    def __post_init__(self) -> None:
        assert self.clock in ("utc", "local", "none")


@dataclass(frozen=True, kw_only=True)
class Recording(Facts):
    """One recording as it was made: no resampling, no gap filled, no sample invented.

    Times may be irregular. A pause is a jump in them; later stages find it there. A year at 100 Hz is 3 billion
    samples, so they come piece by piece, once, and only until the next recording of the file is asked for.
    """

    pieces: Iterator[SampleChunk]
    """All samples, to be read once. Raises `HarnetError` where the file turns out to be unusable."""
    notes: Callable[[], tuple[Note, ...]] = tuple
    """What was dropped or mended (`data_shards.readers.oddities`): complete once `pieces` is exhausted."""
    temperature: Callable[[], Temperature | None] = lambda: None
    """Of the device, for calibration: complete once `pieces` is exhausted; None where it was not recorded."""

    def load(self) -> "Loaded":
        """All of it in memory: 20 bytes a sample, 1.2 GB for a week at 100 Hz."""
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
    """What was dropped or mended."""
    temperature: Temperature | None = None
    """Of the device; None where it was not recorded."""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.acceleration.shape == (len(self.times), 3)

    def stream(self) -> Recording:
        """The same as a stream of one piece."""
        return Recording(
            pieces=iter((SampleChunk(self.times, self.acceleration),)),
            notes=lambda: self.notes,
            temperature=lambda: self.temperature,
            **_facts(self),
        )


def _facts(recording: Facts) -> dict[str, Any]:
    return {field.name: getattr(recording, field.name) for field in fields(Facts)}
