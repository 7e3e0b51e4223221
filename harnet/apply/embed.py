"""Windows of a recording → features, as Zarr, and their mean by day and by hour.

Written piece by piece: neither the signal nor the features of a recording are ever in memory as a whole.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import zarr
from zarr.codecs import BloscCodec

from harnet.apply.inference import Pieces, Wall, outputs
from harnet.apply.summaries import RecordingSummary, WearSums
from harnet.encoder import Encoder
from harnet.files import fsync_tree, publish

ROWS_A_CHUNK = 512
"""Windows in a chunk: at 1,024 features in float32, 2 MB."""

Stored = Literal["float32", "float16", "none"]


@dataclass(frozen=True)
class FeatureStore:
    """Where the features of one recording go."""

    folder: Path
    """Its group in the store."""
    windows: int
    """How many there will be."""
    dtype: Literal["float32", "float16"]
    """Of the stored features."""


def embed(
    encoder: Encoder, pieces: Pieces, wall: Wall, batch: int, step: int, store: FeatureStore | None
) -> RecordingSummary:
    """Run `encoder` (evaluation mode, on its device) over all windows; each stands for `step` seconds.

    With a `store`, writes the group with `features` (n, F), `seconds` (n,) on the recording's clock and `time` (n,),
    seconds since 1970 on the wall clock: whole when this returns, absent if it does not.
    """
    size = encoder.architecture.features
    sums = WearSums(size, step)
    rows = outputs(encoder, pieces, batch, lambda features: features.flatten(1))
    if store is None:
        for starts, features in rows:
            sums.add(wall(starts), features)
        return sums.finished()
    temporary = store.folder.with_name(f".{store.folder.name}.tmp")
    for leftover in (temporary, store.folder):
        if leftover.exists():
            shutil.rmtree(leftover)
    try:
        group = zarr.create_group(temporary, zarr_format=3, attributes={"step_seconds": step})
        _write(group, rows, wall, sums, store, size)
        fsync_tree(temporary)
        publish(temporary, store.folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return sums.finished()


def open_root(path: Path) -> None:
    """Make the store that holds a group for each recording, or leave it as it is."""
    zarr.open_group(path, mode="a", zarr_format=3)


def _write(group: zarr.Group, rows: Pieces, wall: Wall, sums: WearSums, store: FeatureStore, size: int) -> None:
    chunk = max(1, min(store.windows, ROWS_A_CHUNK))
    target = group.create_array(
        "features",
        shape=(store.windows, size),
        dtype=store.dtype,
        chunks=(chunk, size),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="bitshuffle", typesize=np.dtype(store.dtype).itemsize),
        dimension_names=("window", "feature"),
    )
    held = np.empty((0, size), store.dtype)
    times, done = [np.empty(0, np.int64)], 0
    for starts, features in rows:
        sums.add(wall(starts), features)
        times.append(starts)
        held = np.concatenate([held, features.astype(store.dtype)])
        # Whole chunks only, so that each is compressed and written once.
        whole = len(held) // chunk * chunk
        target[done : done + whole] = held[:whole]
        done, held = done + whole, held[whole:]
    target[done:] = held
    seconds = np.concatenate(times)
    assert len(seconds) == done + len(held) == store.windows
    for name, values in (("seconds", seconds), ("time", wall(seconds))):
        column = group.create_array(name, shape=values.shape, dtype="int64", chunks=(max(1, len(values)),),
                                    dimension_names=("window",))  # fmt: skip
        column[:] = values
