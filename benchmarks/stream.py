"""Claim: reading blocks by offset feeds many times more windows/s than stock webdataset with one window a member.

Both read the same recordings, cut ten-second windows and deliver int16 batches of 512, on one core, from page cache.

    python -m benchmarks.stream SHARDS
"""

import argparse
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
import webdataset as wds

from benchmarks.report import machine, publish, rate
from data_shards import manifest as manifests
from data_shards.plan import OrderConfig, plan_epoch
from data_shards.shards import Shards
from data_shards.stream import stream

BATCH = 512


def ours(folder: Path, order: OrderConfig) -> int:
    """One epoch through the deterministic stream, every block's hash checked."""
    contents = manifests.read(folder)
    plan = plan_epoch(contents, "train", order, 0)
    with Shards(contents) as shards:
        return sum(len(batch.windows) for batch in stream(shards, plan, range(order.lanes)))


def write_single_windows(folder: Path, order: OrderConfig, path: Path) -> None:
    """The same windows, one a tar member, in an order that is already shuffled."""
    contents = manifests.read(folder)
    plan = plan_epoch(contents, "train", order, 0)
    with Shards(contents) as shards, path.open("wb") as file, wds.TarWriter(file, encoder=False, mtime=0) as tar:
        for batch in stream(shards, plan, range(order.lanes)):
            for position, window in zip(batch.positions.tolist(), batch.windows, strict=True):
                buffer = io.BytesIO()
                np.save(buffer, window)
                tar.write({"__key__": f"{position:09d}", "accel.npy": buffer.getvalue()})


def stock(path: Path, shuffle: int) -> int:
    """One epoch through webdataset's own pipeline."""
    pipeline = wds.WebDataset(str(path), shardshuffle=False).shuffle(shuffle).decode().to_tuple("accel.npy")
    return sum(len(windows) for (windows,) in pipeline.batched(BATCH, partial=False))


def main() -> None:
    """Measure and publish."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    order = OrderConfig(window_seconds=10, batch=BATCH, lanes=16, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder) / "single.tar"
        write_single_windows(arguments.shards, order, single)
        rows = {
            "harnet stream, hashes checked": rate(lambda: ours(arguments.shards, order), arguments.repeats),
            "webdataset, one window a member": rate(lambda: stock(single, 2048), arguments.repeats),
        }
    publish("stream", "windows/s on one core", rows, machine("webdataset", "xxhash"))


if __name__ == "__main__":
    main()
