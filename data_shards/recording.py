"""What every device reader returns: one recording, with its real times and in g."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data_shards.notes import Note


@dataclass(frozen=True)
class Temperature:
    """What the device's thermometer read, at times of its own, on the recording's clock."""

    times: NDArray[np.float64]
    """(m,) seconds since 1970-01-01 00:00, strictly increasing."""
    celsius: NDArray[np.float32]
    """(m,) degrees Celsius."""

    def __post_init__(self) -> None:
        assert self.times.shape == self.celsius.shape


@dataclass(frozen=True)
class Recording:
    """One device file as it was recorded: no resampling, no gap filled, no sample invented.

    Times may be irregular. A pause is a jump in `times`; later stages find it there.
    """

    acceleration: NDArray[np.float32]
    """(n, 3) in g, axes as the device numbers them."""
    times: NDArray[np.float64]
    """(n,) seconds since 1970-01-01 00:00 on the device's own clock, strictly increasing."""
    nominal_rate: float
    """Samples per second that the device was set to."""
    device: str
    """Maker and model, such as "Axivity AX3"."""
    clock: str
    """"utc", "local" (wall clock of the place, zone unknown) or "none" (no clock: times start at 0)."""
    range_g: float | None = None
    """Full scale: the device cannot record more than this many g on an axis. None where that is not known."""
    temperature: Temperature | None = None
    """Of the device, for calibration; None where it was not recorded."""
    notes: tuple[Note, ...] = ()
    """What a reader dropped or mended (`data_shards.readers.oddities`)."""
    metadata: dict[str, str | int | float] = field(default_factory=dict)
    """Facts from the file's header. Never a name or a date of birth."""

    def __post_init__(self) -> None:
        assert self.acceleration.ndim == 2
        assert self.acceleration.shape == (len(self.times), 3)
        assert self.clock in ("utc", "local", "none")
