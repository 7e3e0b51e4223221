"""Buffer for a recording at 30 Hz, because calibration needs the whole recording first."""

import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import SAMPLES_PER_HOUR

IN_MEMORY = 256 << 20
"""Bytes buffered in memory: a week is 218 MB, so only longer recordings use the disk, 11 GB for a year."""


class GridRun(NamedTuple):
    """Consecutive samples of the 30 Hz grid within one clock hour."""

    start: int
    """Index of the first sample, counted from 1970 at 30 Hz."""
    values: NDArray[np.float32]
    """(3, n) in g."""


class Scratch:
    """Takes runs in order of time and returns them by the hour. Its file is anonymous, so nothing is left behind."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is on the disk with enough space: that of the store."""
        self._folder = folder or Path(tempfile.gettempdir())
        self._file = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (it is closed in __exit__)
            IN_MEMORY, dir=None if folder is None else str(folder), prefix=".scratch-", suffix=".tmp"
        )
        self._runs: list[tuple[int, int]] = []

    def __enter__(self) -> "Scratch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def write(self, start: int, values: NDArray[np.float32]) -> None:
        """Add values (3, n) in g of the samples from index `start` on. Raises OSError if the disk is full."""
        assert values.dtype == np.float32
        self._runs.append((start, values.shape[1]))
        try:
            self._file.write(values.tobytes())
        except OSError as error:
            # The error of an anonymous file does not name the full disk.
            raise OSError(error.errno, error.strerror, str(self._folder)) from error

    def hours(self) -> Iterator[tuple[int, list[GridRun]]]:
        """Yield the clock hours since 1970 with samples, in order, and their runs."""
        self._file.seek(0)
        for hour, runs in groupby(self._by_hour(), key=lambda run: run.start // SAMPLES_PER_HOUR):
            yield hour, list(runs)

    def _by_hour(self) -> Iterator[GridRun]:
        for start, count in self._runs:
            values = np.frombuffer(self._file.read(12 * count), np.float32).reshape(3, count)
            done = 0
            while done < count:
                into = (start + done) % SAMPLES_PER_HOUR
                stop = min(count, done + SAMPLES_PER_HOUR - into)
                yield GridRun(start + done, values[:, done:stop])
                done = stop
