"""What every device reader returns: one recording, with its real times and in g."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


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
    notes: tuple[str, ...] = ()
    """What a reader dropped or repaired, for people, such as "6 of 145 data blocks damaged: dropped"."""
    metadata: dict[str, str | int | float] = field(default_factory=dict)
    """Facts from the file's header. Never a name or a date of birth."""

    def __post_init__(self) -> None:
        assert self.acceleration.ndim == 2
        assert self.acceleration.shape == (len(self.times), 3)
        assert self.clock in ("utc", "local", "none")
