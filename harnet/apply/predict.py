"""Predicting classes of recordings: probabilities with timestamps, as Parquet, and minutes per day and per hour."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from torch import Tensor

from harnet.apply.recordings import Network, Results, Wall, WindowedRecording
from harnet.apply.smoothing import Smoother
from harnet.apply.summaries import RecordingSummary, WearSums
from harnet.files import atomic_path
from harnet.heads import ClassifierModel
from harnet.linear_probe import LinearProbe
from harnet.weights.load import load_classifier

WINDOWS = "windows"
"""Sub-folder of the output: one Parquet file per recording."""


@dataclass(frozen=True)
class Prediction:
    """The predict task: the class of every window, and minutes per class."""

    weights: str
    """Folder or URL of a bundle with a classifier."""
    device: str
    """Torch device, such as "cuda"."""
    out: Path
    """Output folder."""
    step: int
    """Seconds that each window represents: the step between window starts."""
    smoother: Smoother | None
    """Temporal smoothing of the classes; None takes the most likely class of each window."""
    name: str = "predict"
    """Name of the task, for the progress bar."""

    def network(self) -> Network:
        """Encoder and classifier."""
        return Network(_classifier(self.weights, self.device)[0], _probabilities)

    def results(self, recording: WindowedRecording) -> Results:
        """A Parquet table with one row per window."""
        path = self.out / WINDOWS / f"{recording.name}.parquet"
        return Classes(path, _classifier(self.weights, self.device)[1], self.step, self.smoother, recording.wall)


class Classes:
    """One row per window: `time` (wall clock), `seconds` (recording's clock), `class`, and `p_CLASS` for each class."""

    def __init__(self, path: Path, names: tuple[str, ...], step: int, smoother: Smoother | None, wall: Wall) -> None:
        self._path, self._names, self._step, self._smoother, self._wall = path, names, step, smoother, wall
        self._starts: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
        self._probabilities: list[NDArray[np.float32]] = [np.empty((0, len(names)), np.float32)]

    def add(self, starts: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Buffer the probabilities: smoothing needs the whole recording."""
        self._starts.append(starts)
        self._probabilities.append(rows)

    def finish(self) -> RecordingSummary:
        """Choose the classes, write the table and return the minutes per class."""
        starts, probabilities = np.concatenate(self._starts), np.concatenate(self._probabilities)
        if self._smoother is None:
            chosen = probabilities.argmax(axis=1)
        else:
            chosen = self._smoother.smooth(starts, probabilities)
        wall = self._wall(starts)
        columns = {
            "time": pa.array(wall.astype("datetime64[s]")),
            "seconds": pa.array(starts),
            "class": pa.DictionaryArray.from_arrays(pa.array(chosen.astype(np.int32)), pa.array(self._names)),
            **{f"p_{name}": pa.array(probabilities[:, place]) for place, name in enumerate(self._names)},
        }
        with atomic_path(self._path) as temporary:
            pq.write_table(pa.table(columns), temporary, compression="zstd")
        sums = WearSums(len(self._names), self._step)
        sums.add(wall, np.eye(len(self._names), dtype=np.float32)[chosen])
        return sums.finished()

    def close(self) -> None:
        """Nothing to clean up."""


@lru_cache(maxsize=1)
def _classifier(weights: str, device: str) -> tuple[ClassifierModel | LinearProbe, tuple[str, ...]]:
    return load_classifier(weights, device)


def _probabilities(logits: Tensor) -> Tensor:
    return logits.float().softmax(dim=1)
