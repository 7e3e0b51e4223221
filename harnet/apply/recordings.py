"""Applying a model to recordings; the results of each recording are complete or absent."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from harnet.apply.inference import Pieces, Precision, outputs
from harnet.apply.summaries import RecordingSummary
from harnet.errors import HarnetError

Wall = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Converts seconds on the recording's clock to seconds since 1970 on the local wall clock; both (n,)."""


@dataclass(frozen=True)
class WindowedRecording:
    """One recording to process."""

    name: str
    """Name under which its results are stored."""
    windows: Callable[[], Pieces]
    """Reads its windows in order; HarnetError if it cannot."""
    wall: Wall
    """Converts to wall-clock time."""


class Results(Protocol):
    """Destination of the outputs of one recording."""

    def add(self, starts: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Append outputs (n, K) of the windows that start at `starts` (n,); called in order of time."""

    def finish(self) -> RecordingSummary:
        """Publish the results and return their summary."""

    def close(self) -> None:
        """Remove unfinished results; does nothing after `finish`."""


@dataclass(frozen=True)
class Network:
    """A model and its post-processing."""

    model: nn.Module
    """The model, in evaluation mode, on its device."""
    finish: Callable[[Tensor], Tensor]
    """Maps the model's outputs for a batch to (N, K)."""


class Task(Protocol):
    """What to do with recordings. Must be small and picklable: it is sent to worker processes."""

    @property
    def name(self) -> str:
        """Name for the progress bar."""

    def network(self) -> Network:
        """The model, loaded once per process."""

    def results(self, recording: WindowedRecording) -> Results:
        """New, empty results of a recording; remains of an earlier attempt are deleted."""


def apply(
    task: Task, recordings: Sequence[WindowedRecording], batch: int, precision: Precision, threads: int
) -> Iterator[tuple[WindowedRecording, RecordingSummary | HarnetError]]:
    """Process `recordings`; yields each with its summary once its results are published, or with the error.

    `batch` windows go through the model at once; a batch may contain windows of several recordings. On a CPU, `threads`
    batches are computed at the same time.
    """
    network, results = task.network(), None
    reading = [recording.windows for recording in recordings]
    try:
        for share, rows in outputs(network.model, reading, batch, network.finish, precision, threads):
            recording = recordings[share.place]
            results = results or task.results(recording)
            if len(rows):
                results.add(share.starts, rows)
            if share.ended:
                yield recording, share.error or results.finish()
                results.close()
                results = None
    finally:
        if results is not None:
            results.close()
