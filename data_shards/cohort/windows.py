"""Windows of a stored recording in order of time, with few hours in memory at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from data_shards.cohort.stored import StoredRecording
from data_shards.layout import COUNTS_PER_G, RATE, SECONDS_PER_HOUR
from harnet.errors import HarnetError

HOURS_AT_ONCE = 1
"""Hours read at a time: 0.6 MB as stored, 1.3 MB as windows in g; more would only cost memory."""

Pieces = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]


def worn_windows(stored: StoredRecording, seconds: int, step: int) -> Pieces:
    """Yield (starts, windows) for the windows in which every second is complete and worn.

    Args:
        stored: An open recording.
        seconds: Window length in seconds.
        step: Seconds between window starts; windows overlap if it is less than `seconds`. Starts are multiples of it
            since 1970, so that the windows of all recordings lie on one grid.

    Yields:
        Starts (n,) in seconds since 1970 on the recording's clock, increasing; windows (n, 3, seconds * 30) in g; n may
        be 0.

    Raises:
        HarnetError: `step` is less than 1.
    """
    if step < 1:
        raise HarnetError(f"step {step}: must be whole seconds, at least 1")
    info = stored.info
    base = info.first_hour * SECONDS_PER_HOUR
    accel = np.empty((3, 0), np.int16)
    wear = np.empty(0, np.uint8)
    for hour in range(0, info.hours, HOURS_AT_ONCE):
        data = stored.read_hours(hour, min(hour + HOURS_AT_ONCE, info.hours))
        accel, wear = np.concatenate([accel, data.accel], axis=1), np.concatenate([wear, data.wear])
        places = _starts(wear, base, seconds, step)
        samples = places[:, None] * RATE + np.arange(seconds * RATE)
        windows = accel[:, samples].transpose(1, 0, 2) / np.float32(COUNTS_PER_G)
        yield base + places, np.ascontiguousarray(windows, np.float32)
        # Keep what the next window still needs.
        used = min(len(wear), -(-(base + max(len(wear) - seconds + 1, 0)) // step) * step - base)
        base, accel, wear = base + used, accel[:, used * RATE :], wear[used:]


def _starts(wear: NDArray[np.uint8], base: int, seconds: int, step: int) -> NDArray[np.int64]:
    """Indices into `wear`, which starts at second `base`, at which a fully worn window of the grid starts."""
    places = np.arange(-base % step, len(wear) - seconds + 1, step, dtype=np.int64)
    worn = np.concatenate([[0], np.cumsum(wear, dtype=np.int64)])
    return places[worn[places + seconds] - worn[places] == seconds]
