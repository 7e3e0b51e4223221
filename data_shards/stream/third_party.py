"""Reading our shards in other training code: a stock webdataset pipeline that yields arrays."""

import io
import json
from collections.abc import Callable, Iterator
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
"""Size in bytes of the .npy file of a full hour; nothing larger is decompressed."""


def to_webdataset(folder: Path | str, split: Split = "train") -> wds.WebDataset:
    """A webdataset pipeline over the blocks of a split, in the order of the shards.

    Each sample is a dict: `about` (participant, recording, hour, first_second and more), `accel` int16 (3, n) in
    counts of 1/4096 g, -32768 where nothing was recorded, `motion` float32 (n / 30,) in g, `wear` uint8 (n / 30,), 1
    where the second is complete and worn. Works for compressed and uncompressed shards. Members that `harnet shard`
    does not write are returned as bytes. Add `.shuffle()`, `.batched()` and so on as usual. Block hashes are not
    checked: run `harnet verify` first.

    Raises:
        HarnetError: the folder has no manifest, or a damaged one.
    """
    contents = manifest.read(Path(folder))
    # Absolute, because webdataset treats names that start with `pipe:` as commands.
    urls = [str(contents.folder.resolve() / shard.name) for shard in contents.shards if shard.split == split]
    return wds.WebDataset(urls, shardshuffle=False, empty_check=False).map(_decoded)


def windows(sample: dict[str, Any], seconds: int, every: int | None = None) -> Iterator[NDArray[np.int16]]:
    """Yield the worn windows (3, 30 * seconds) of a sample, starting every `every` seconds (default: no overlap)."""
    step, last = every or seconds, -(1 << 30)
    for start in window_starts(sample["wear"], seconds).tolist():
        if start >= last + step:
            last = start
            yield sample["accel"][:, start * RATE : (start + seconds) * RATE]


def _decoded(sample: dict[str, Any]) -> dict[str, Any]:
    """Decode the members that `harnet shard` writes; others are returned as bytes.

    Never uses webdataset's own `decode`: it unpickles, that is, executes, members named .pyd, .pkl or .pth.
    """
    found: dict[str, Any] = {"__key__": sample["__key__"]}
    for name, content in sample.items():
        if name in _MEMBERS:
            found[name.partition(".")[0]] = _MEMBERS[name](content)
        elif not name.startswith("__"):
            found[name] = content
    return found


def _npy(content: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.load(io.BytesIO(content), allow_pickle=False)
    return array


def _compressed(content: bytes) -> NDArray[Any]:
    # Bytes 4 to 7 of the Blosc header are the uncompressed size.
    size = int.from_bytes(content[4:8], "little")
    if size > _LARGEST_NPY:
        raise ValueError(f"accel.npy.blosc: {size} bytes uncompressed, more than a person-hour has")
    return _npy(bytes(decompress(memoryview(content), size)))


_MEMBERS: dict[str, Callable[[bytes], Any]] = {
    "about.json": json.loads,
    "accel.npy": _npy,
    "accel.npy.blosc": _compressed,
    "motion.npy": _npy,
    "wear.npy": _npy,
}
"""Member -> decoder."""
