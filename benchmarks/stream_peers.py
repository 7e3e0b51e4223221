"""The peers of benchmarks/stream.py, in a separate interpreter: they pin an older NumPy than harnet needs.

    PYTHON benchmarks/stream_peers.py NAME WINDOWS.npy FOLDER REPEATS

prints windows/s, bytes stored per window and the version as JSON. It imports nothing from harnet.
"""

import json
import statistics
import sys
import time
import types
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

BATCH = 512


def litdata(windows: np.ndarray, folder: Path) -> Callable[[], Iterator[Any]]:
    """Single windows in litdata's own chunks of 64 MB, shuffled."""
    import litdata
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes=64_000_000)
    for number, window in enumerate(windows):
        writer[number] = torch.from_numpy(window.copy())
    writer.done()
    writer.merge()
    # By default it unpacks 32 neighbours for each item: good for reading in order, and many times slower shuffled.
    return lambda: iter(litdata.StreamingDataset(str(folder), shuffle=True, batch_decode=0))


def mosaicml_streaming(windows: np.ndarray, folder: Path) -> Callable[[], Iterator[Any]]:
    """Single windows in MDS shards of 64 MB, shuffled by the library's default."""
    _without_torchvision()
    from streaming import MDSWriter, StreamingDataset

    with MDSWriter(out=str(folder), columns={"accel": "ndarray:int16:3,300"}, size_limit=64_000_000) as writer:
        for window in windows:
            writer.write({"accel": window})
    dataset = StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH, num_canonical_nodes=1)
    return lambda: (sample["accel"] for sample in dataset)


def _without_torchvision() -> None:
    """A stub: streaming imports it for its vision data sets, and it rarely matches a CPU build of torch."""
    names = ["torchvision", "torchvision.datasets", "torchvision.transforms", "torchvision.transforms.functional"]
    for name in names:
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__spec__ = ModuleSpec(name, None)
    sys.modules["torchvision.datasets"].VisionDataset = object  # type: ignore[attr-defined]
    sys.modules["torchvision.transforms.functional"].to_tensor = None  # type: ignore[attr-defined]


PEERS = {"litdata": litdata, "mosaicml-streaming": mosaicml_streaming}


def deliver(samples: Iterable[Any]) -> int:
    """Read all windows into a reused batch of 512."""
    out, count = np.empty((BATCH, 3, 300), np.int16), 0
    for sample in samples:
        out[count % BATCH] = sample
        count += 1
    return count


def main() -> None:
    """Write, read once to warm the page cache, measure."""
    name, source, folder, repeats = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    windows = np.load(source, mmap_mode="r", allow_pickle=False)
    begin = PEERS[name](windows, folder)
    assert deliver(begin()) == len(windows)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        count = deliver(begin())
        rates.append(count / (time.perf_counter() - start))
    stored = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    found = {"rate": statistics.median(rates), "bytes": stored / len(windows), "version": version(name)}
    print(json.dumps(found | {"numpy": np.__version__, "torch": str(torch.__version__)}))


if __name__ == "__main__":
    main()
