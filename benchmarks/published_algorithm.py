"""A peer for comparison: a training loop as the published recipe describes it, on the same machine in the same run.

Written from the publication (Yuan et al. 2024): windows in a NumPy file, transformed one by one in loader processes;
the encoder on (N, C, L) with torch's one-dimensional operations; Adam with amsgrad; the mean of three cross-entropies.
It is not a copy of the published program, which may be faster or slower.

    python -m benchmarks.published_algorithm            in memory and from a file, on the CPU or a GPU
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import repeat
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, RandomSampler

from benchmarks.layouts import CHANNELS_FIRST, LAYOUTS
from benchmarks.profile_encoder import wait
from benchmarks.report import machine
from harnet.heads import PretextModel

Window = NDArray[np.float32]
"""(3, T), g."""
TASKS = (0, 2, 3)
"""Trained heads: reversal, permutation, time warp."""
LENGTH, SEGMENTS, LEAST, KNOTS, SIGMA = 300, 4, 10, 6, 0.2
BATCH = 6000
"""Published batch size, on one GPU."""
EPOCH = 10_000
"""Batches in an epoch: more than any measurement takes."""


def permuted(x: Window, draw: np.random.Generator) -> Window:
    """Four segments, each longer than ten samples, in random order."""
    while True:
        cuts = np.sort(draw.integers(LEAST, x.shape[1] - LEAST, SEGMENTS - 1))
        if np.diff([0, *cuts, x.shape[1]]).min() > LEAST:
            break
    pieces = np.split(x, cuts, axis=1)
    return np.concatenate([pieces[place] for place in draw.permutation(SEGMENTS)], axis=1)


def warped(x: Window, draw: np.random.Generator) -> Window:
    """Each axis read along a random smooth curve of time."""
    length = x.shape[1]
    grid, knots = np.arange(length), np.linspace(0, length - 1, KNOTS)
    out = np.empty_like(x)
    for axis, signal in enumerate(x):
        time_of = np.cumsum(CubicSpline(knots, draw.normal(1.0, SIGMA, KNOTS))(grid))
        out[axis] = np.interp(grid, time_of * (length - 1) / time_of[-1], signal)
    return out


def turned(x: Window, draw: np.random.Generator) -> Window:
    """Axes in random order, then a random rotation."""
    axis = draw.uniform(-1, 1, 3)
    rotation = Rotation.from_rotvec(axis / np.linalg.norm(axis) * draw.uniform(-np.pi, np.pi)).as_matrix()
    return (rotation.astype(np.float32) @ x[draw.permutation(3)]).astype(np.float32)


class Windows(Dataset[tuple[Window, NDArray[np.int64]]]):
    """Windows of a file, transformed on access, with labels (4,) of the transforms applied."""

    def __init__(self, path: Path) -> None:
        self._path, self._windows = path, np.load(path, mmap_mode="r")

    def __len__(self) -> int:
        return len(self._windows)

    def __getitem__(self, number: int) -> tuple[Window, NDArray[np.int64]]:
        draw = np.random.default_rng()
        x, labels = np.array(self._windows[number]), np.zeros(4, np.int64)
        labels[list(TASKS)] = draw.integers(0, 2, len(TASKS))
        if labels[0]:
            x = x[:, ::-1].copy()
        if labels[2]:
            x = permuted(x, draw)
        if labels[3]:
            x = warped(x, draw)
        return turned(x, draw), labels


class Loop:
    """Network and optimiser of the recipe; `rate` trains for some seconds."""

    def __init__(self, device: torch.device, bf16: bool) -> None:
        self._device, self._bf16 = device, bf16
        self._network: nn.Module = PretextModel("harnet10", initialisation="published").to(device)
        LAYOUTS[CHANNELS_FIRST](self._network)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=1e-4, amsgrad=True)

    def step(self, x: Tensor, labels: Tensor) -> float:
        """One update; the loss is read back at once, as in a loop that prints it."""
        x, labels = x.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16):
            logits = self._network(x)
        loss = torch.stack([F.cross_entropy(logits[:, task].float(), labels[:, task]) for task in TASKS]).mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return loss.item()

    def rate(self, batches: Iterable[tuple[Tensor, Tensor]], budget: float) -> float:
        """Windows/s over about `budget` seconds, at least two steps, after a warm-up step."""
        found: Iterator[tuple[Tensor, Tensor]] = iter(batches)
        self.step(*next(found))
        windows, start = 0, time.perf_counter()
        for steps, (x, labels) in enumerate(found, start=1):
            self.step(x, labels)
            windows += len(x)
            if time.perf_counter() - start > budget and steps > 1:
                break
        wait(self._device)
        return windows / (time.perf_counter() - start)


def measure(device: torch.device, batch: int, budget: float, folder: Path) -> dict[str, float]:
    """Windows/s in memory, in each precision, and from a file with two loader processes and with one per core."""
    count = 4 * batch
    path = folder / "windows.npy"
    rng = np.random.default_rng(0)
    np.save(path, (0.3 * rng.standard_normal((count, 3, LENGTH)) + [[0], [0], [1]]).astype(np.float32))
    data = Windows(path)
    cuda = device.type == "cuda"
    # As torch is set up: convolutions in TF32.
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = True, cuda
    x, labels = torch.from_numpy(np.load(path)[:batch]).to(device), torch.zeros(batch, 4, dtype=torch.int64)
    kept = repeat((x, labels.to(device)))
    rows = {"in memory, fp32": Loop(device, bf16=False).rate(kept, budget)}
    rows["in memory, bf16"] = Loop(device, bf16=True).rate(kept, budget)
    for workers in sorted({min(2, os.cpu_count() or 1), min(16, os.cpu_count() or 1)}):
        # One long epoch: a file this small would keep only a few of the processes busy, and restart them all the time.
        order = RandomSampler(data, replacement=True, num_samples=batch * EPOCH)
        loader = DataLoader(data, batch, sampler=order, num_workers=workers, pin_memory=cuda, drop_last=True)
        rows[f"from a file, {workers} loader processes"] = Loop(device, bf16=cuda).rate(loader, budget)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--batch", type=int, default=0, help=f"windows; {BATCH} on a GPU and 64 on the CPU if not given"
    )
    parser.add_argument("--seconds", type=float, default=5.0, help="for each row")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch = arguments.batch or (BATCH if device.type == "cuda" else 64)
    with tempfile.TemporaryDirectory() as folder:
        for name, value in measure(device, batch, arguments.seconds, Path(folder)).items():
            print(f"  {name:<45} {value:>12,.0f} windows/s")
    print(f"on {json.dumps(machine())}")


if __name__ == "__main__":
    main()
