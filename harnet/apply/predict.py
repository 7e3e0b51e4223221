"""Windows of a recording → probabilities of classes with their times, as Parquet, and what they add to its wearer."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harnet.apply.inference import Pieces, Wall, outputs
from harnet.apply.smoothing import Smoother
from harnet.apply.summaries import RecordingSummary, WearSums
from harnet.files import atomic_path
from harnet.heads import ClassifierModel


@dataclass(frozen=True)
class Predictions:
    """What a classifier says of a recording's worn windows."""

    starts: NDArray[np.int64]
    """(n,) seconds since 1970 on the recording's clock."""
    wall: NDArray[np.int64]
    """(n,) the same on the wall clock, where that is known."""
    probabilities: NDArray[np.float32]
    """(n, C)."""
    chosen: NDArray[np.int64]
    """(n,) class of each window, smoothed if asked for."""


def predict(
    model: ClassifierModel, classes: int, pieces: Pieces, wall: Wall, batch: int, smoother: Smoother | None
) -> Predictions:
    """Run `model` (evaluation mode, on its device) over all windows of a recording."""
    found = list(outputs(model, pieces, batch, lambda logits: logits.softmax(dim=1)))
    starts = np.concatenate([np.empty(0, np.int64), *(part for part, _ in found)])
    probabilities = np.concatenate([np.empty((0, classes), np.float32), *(part for _, part in found)])
    chosen = probabilities.argmax(axis=1) if smoother is None else smoother.smooth(starts, probabilities)
    return Predictions(starts, wall(starts), probabilities, chosen)


def write_predictions(path: Path, found: Predictions, classes: tuple[str, ...]) -> None:
    """One row a window: `time` (wall clock), `seconds` (recording's clock), `class`, and `p_CLASS` for each class."""
    names = pa.array(classes, pa.string())
    columns = {
        "time": pa.array(found.wall.astype("datetime64[s]")),
        "seconds": pa.array(found.starts),
        "class": pa.DictionaryArray.from_arrays(pa.array(found.chosen.astype(np.int32)), names),
        **{f"p_{name}": pa.array(found.probabilities[:, place]) for place, name in enumerate(classes)},
    }
    with atomic_path(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")


def summary_of(found: Predictions, classes: int, step: int) -> RecordingSummary:
    """Share of each class by day and hour; each window stands for `step` seconds."""
    sums = WearSums(classes, step)
    sums.add(found.wall, np.eye(classes, dtype=np.float32)[found.chosen])
    return sums.finished()
