"""Features of recordings, as Zarr, and their means per day and per hour.

Written incrementally: neither the signal nor the features of a recording are ever completely in memory.
"""

import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from torch import Tensor, nn
from zarr.codecs import BloscCodec

from harnet.apply.recordings import Network, Results, Wall, WindowedRecording
from harnet.apply.summaries import RecordingSummary, WearSums
from harnet.encoder import Encoder
from harnet.files import fsync_tree, publish
from harnet.weights.load import load_encoder

ROWS_A_CHUNK = 512
"""Windows per chunk: 2 MB for 1,024 features in float32."""

FEATURES = "features.zarr"
"""Zarr store in the output folder, with one group per recording."""

Stored = Literal["float32", "float16", "none"]


@dataclass(frozen=True)
class Embedding:
    """The embed task: features of every window, and their means."""

    weights: str
    """Weights, in any form that `load_encoder` takes."""
    device: str
    """Torch device, such as "cuda"."""
    out: Path
    """Output folder."""
    step: int
    """Seconds that each window represents: the step between window starts."""
    stored: Stored
    """Dtype of the stored features; "none" stores only their means."""
    stages: tuple[int, ...] = (5,)
    """Encoder stages whose features are concatenated, see `Encoder.features`."""
    name: str = "embed"
    """Name of the task, for the progress bar."""

    def network(self) -> Network:
        """The encoder."""
        return Network(_Stages(_encoder(self.weights, self.device), self.stages), _identity)

    def results(self, recording: WindowedRecording) -> Results:
        """A group in the Zarr store, or only the sums."""
        size = _encoder(self.weights, self.device).architecture.features_of(self.stages)
        sums = WearSums(size, self.step)
        if self.stored == "none":
            return Means(sums, recording.wall)
        return Features(self.out / FEATURES / recording.name, self.stored, size, sums, recording.wall)


class Means:
    """Mean features per day and per hour of the day."""

    def __init__(self, sums: WearSums, wall: Wall) -> None:
        self._sums, self._wall = sums, wall

    def add(self, starts: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Add features (n, F) of the windows that start at `starts` (n,) to the sums."""
        self._sums.add(self._wall(starts), rows)

    def finish(self) -> RecordingSummary:
        """Return the sums."""
        return self._sums.finished()

    def close(self) -> None:
        """Nothing to clean up."""


class Features(Means):
    """A Zarr group and the means.

    The group holds `features` (n, F), `seconds` (n,) on the recording's clock, and `time` (n,) in seconds since 1970 on
    the wall clock.
    """

    def __init__(self, folder: Path, dtype: str, size: int, sums: WearSums, wall: Wall) -> None:
        super().__init__(sums, wall)
        self._folder, self._temporary = folder, folder.with_name(f".{folder.name}.tmp")
        for leftover in (self._temporary, folder):
            if leftover.exists():
                shutil.rmtree(leftover)
        attributes = {"step_seconds": sums.seconds}
        self._group = zarr.create_group(self._temporary, zarr_format=3, attributes=attributes)
        self._features: zarr.Array[Any] = self._group.create_array(
            "features",
            shape=(0, size),
            dtype=dtype,
            chunks=(ROWS_A_CHUNK, size),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=np.dtype(dtype).itemsize),
            dimension_names=("window", "feature"),
        )
        self._held: list[NDArray[Any]] = []
        self._waiting = 0
        self._starts: list[NDArray[np.int64]] = [np.empty(0, np.int64)]

    def add(self, starts: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Buffer features (n, F) until a chunk is full, and add them to the sums."""
        super().add(starts, rows)
        self._starts.append(starts)
        self._held.append(rows.astype(self._features.dtype))
        self._waiting += len(rows)
        if self._waiting >= ROWS_A_CHUNK:
            # Whole chunks only, so that each is compressed and written once.
            self._write(self._waiting // ROWS_A_CHUNK * ROWS_A_CHUNK)

    def finish(self) -> RecordingSummary:
        """Publish the group and return the sums."""
        self._write(self._waiting)
        seconds = np.concatenate(self._starts)
        for name, values in (("seconds", seconds), ("time", self._wall(seconds))):
            column = self._group.create_array(name, shape=values.shape, dtype="int64", chunks=(max(1, len(values)),),
                                              dimension_names=("window",))  # fmt: skip
            column[:] = values
        fsync_tree(self._temporary)
        publish(self._temporary, self._folder)
        return super().finish()

    def close(self) -> None:
        """Remove an unfinished group."""
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _write(self, count: int) -> None:
        if count:
            held = np.concatenate(self._held)
            self._features.append(held[:count])
            self._held, self._waiting = [held[count:]], len(held) - count


def open_root(path: Path) -> None:
    """Create the Zarr store that holds one group per recording, unless it exists."""
    zarr.open_group(path, mode="a", zarr_format=3)


@lru_cache(maxsize=1)
def _encoder(weights: str, device: str) -> Encoder:
    return load_encoder(weights, device)


class _Stages(nn.Module):
    """Concatenated features of several encoder stages: (N, 3, L) -> (N, F)."""

    def __init__(self, encoder: Encoder, stages: tuple[int, ...]) -> None:
        super().__init__()
        self._encoder, self._stages = encoder, stages

    def forward(self, x: Tensor) -> Tensor:
        return self._encoder.features(x, self._stages)


def _identity(features: Tensor) -> Tensor:
    return features
