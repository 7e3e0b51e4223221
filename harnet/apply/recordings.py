"""Recordings through a model, each into its own results, whole or absent."""

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
"""From seconds on the recording's clock to seconds on the clock on the wall."""


@dataclass(frozen=True)
class WindowedRecording:
    """One recording to work on."""

    name: str
    """Under which its results are kept."""
    windows: Callable[[], Pieces]
    """Reads its windows from the first to the last; HarnetError where it cannot."""
    wall: Wall
    """Its wall clock."""


class Results(Protocol):
    """Where the outputs of one recording go."""

    def add(self, starts: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Take in outputs (n, K) of the windows that start at `starts` (n,), after those before."""

    def finish(self) -> RecordingSummary:
        """Publish the results, and sum them up."""

    def close(self) -> None:
        """Remove what is not finished; after `finish`, nothing."""


@dataclass(frozen=True)
class Network:
    """A model, and what makes rows of its outputs."""

    model: nn.Module
    """In evaluation mode, on its device."""
    finish: Callable[[Tensor], Tensor]
    """From the model's outputs of a batch to (N, K)."""


class Task(Protocol):
    """What is done with recordings: sent to other processes, so small."""

    @property
    def name(self) -> str:
        """For the progress bar."""

    def network(self) -> Network:
        """The model, loaded once in each process."""

    def results(self, recording: WindowedRecording) -> Results:
        """New results of a recording; what an earlier attempt left of them is gone."""


def apply(
    task: Task, recordings: Sequence[WindowedRecording], batch: int, precision: Precision
) -> Iterator[tuple[WindowedRecording, RecordingSummary | HarnetError]]:
    """Work through `recordings`; yields each, once its results are published, with their summary, or why there is none.

    `batch` windows go through the model at once, from whichever recordings they are.
    """
    network, results = task.network(), None
    reading = [recording.windows for recording in recordings]
    try:
        for share, rows in outputs(network.model, reading, batch, network.finish, precision):
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
