"""Features of recordings, as Zarr, and their mean by day and by hour.

Written piece by piece: neither the signal nor the features of a recording are ever in memory as a whole.
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
"""Windows in a chunk: at 1,024 features in float32, 2 MB."""

FEATURES = "features.zarr"
"""In the output folder: one group a recording."""

Stored = Literal["float32", "float16", "none"]


@dataclass(frozen=True)
class Embedding:
    """Features of every window, and their means."""

    weights: str
    """Whatever `load_encoder` takes."""
    device: str
    """Such as "cuda"."""
    out: Path
    """Output folder."""
    step: int
    """Seconds for which each window stands."""
    stored: Stored
    """How features are kept; "none" for their means alone."""
    stages: tuple[int, ...] = (5,)
    """Of the network, whose features stand side by side, as `Encoder.features` takes them."""
    name: str = "embed"
    """Of the work."""

    def network(self) -> Network:
        """The encoder."""
        return Network(_Stages(_encoder(self.weights, self.device), self.stages), _as_it_is)

    def results(self, recording: WindowedRecording) -> Results:
        """A group in the store, or sums alone."""
        size = _encoder(self.weights, self.device).architecture.features_of(self.stages)
        sums = WearSums(size, self.step)
        if self.stored == "none":
            return Means(sums, recording.wall)
        return Features(self.out / FEATURES / recording.name, self.stored, size, sums, recording.wall)


class Means:
    """The means of features by day and hour."""

    def __init__(self, sums: WearSums, wall: Wall) -> None:
        self._sums, self._wall = sums, wall

    def add(self, starts: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Add them up."""
        self._sums.add(self._wall(starts), rows)

    def finish(self) -> RecordingSummary:
        """The sums."""
        return self._sums.finished()

    def close(self) -> None:
        """Nothing is unfinished."""


class Features(Means):
    """A group with `features` (n, F), `seconds` (n,) on the recording's clock and `time` (n,), seconds since 1970 on
    the wall clock; and the means.
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
        """Keep them until there is a chunk to write, and add them up."""
        super().add(starts, rows)
        self._starts.append(starts)
        self._held.append(rows.astype(self._features.dtype))
        self._waiting += len(rows)
        if self._waiting >= ROWS_A_CHUNK:
            # Whole chunks only, so that each is compressed and written once.
            self._write(self._waiting // ROWS_A_CHUNK * ROWS_A_CHUNK)

    def finish(self) -> RecordingSummary:
        """Publish the group."""
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
    """Make the store that holds a group for each recording, or leave it as it is."""
    zarr.open_group(path, mode="a", zarr_format=3)


@lru_cache(maxsize=1)
def _encoder(weights: str, device: str) -> Encoder:
    return load_encoder(weights, device)


class _Stages(nn.Module):
    """Encoder -> features of some of its stages, (N, 3, L) -> (N, F)."""

    def __init__(self, encoder: Encoder, stages: tuple[int, ...]) -> None:
        super().__init__()
        self._encoder, self._stages = encoder, stages

    def forward(self, x: Tensor) -> Tensor:
        return self._encoder.features(x, self._stages)


def _as_it_is(features: Tensor) -> Tensor:
    return features
