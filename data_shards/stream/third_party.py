"""Our shards for people who train with something else: a stock webdataset pipeline, arrays out."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import webdataset as wds
from numpy.typing import NDArray

from data_shards.layout import RATE, SAMPLES_PER_HOUR
from data_shards.shards import manifest
from data_shards.shards.block import window_starts
from data_shards.shards.compression import decompress
from data_shards.shards.split import Split

_LARGEST_NPY = 128 + 3 * SAMPLES_PER_HOUR * 2
"""Bytes of the .npy file of a full hour: nothing larger is unpacked."""


def to_webdataset(folder: Path | str, split: Split = "train") -> wds.WebDataset:
    """A webdataset pipeline over the blocks of a split, in the order of the shards.

    Each sample is a dict: `about` (participant, recording, hour, first_second and more), `accel` int16 (3, n) in
    counts of 1/4096 g, -32768 where nothing was recorded, `motion` float32 (n / 30,) in g, `wear` uint8 (n / 30,), 1
    where the second is complete and worn. Compressed or not. Add `.shuffle()`, `.batched()` and so on as usual; the
    hashes of the blocks are not checked: run `harnet verify` first.

    Raises:
        HarnetError: the folder has no manifest, or a damaged one.
    """
    contents = manifest.read(Path(folder))
    urls = [str(contents.folder / shard.name) for shard in contents.shards if shard.split == split]
    return wds.WebDataset(urls, shardshuffle=False, empty_check=False).decode(_unpack).map(_renamed)


def windows(sample: dict[str, Any], seconds: int, every: int | None = None) -> Iterator[NDArray[np.int16]]:
    """The worn windows of a sample, (3, 30 * seconds) each, beginning `every` seconds (default: side by side)."""
    step, last = every or seconds, -(1 << 30)
    for start in window_starts(sample["wear"], seconds).tolist():
        if start >= last + step:
            last = start
            yield sample["accel"][:, start * RATE : (start + seconds) * RATE]


def _unpack(key: str, content: bytes) -> NDArray[Any] | None:
    """A decoder as webdataset wants it: None leaves the member to the next one."""
    if key.endswith(".npy.blosc"):
        # Blosc says in its header (bytes 4 to 7) how much it unpacks to.
        size = int.from_bytes(content[4:8], "little")
        if size > _LARGEST_NPY:
            raise ValueError(f"{key}: {size} bytes unpacked, more than a person-hour has")
        content = bytes(decompress(memoryview(content), size))
    elif not key.endswith(".npy"):
        return None
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _renamed(sample: dict[str, Any]) -> dict[str, Any]:
    """Names without the endings of files."""
    names = {name.partition(".")[0]: value for name, value in sample.items() if not name.startswith("__")}
    return {"__key__": sample["__key__"]} | names
