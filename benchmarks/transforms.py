"""Claim: transforms of whole batches are many times faster than window by window on one core, and free on a GPU.

They are compared with the published per-window algorithm in numpy and scipy, written from its description (Yuan et al.
2024, and docs/objectives.md): each window on its own, each task with probability 0.5, then an axis order and a
rotation. On a GPU, the share of a whole training step is measured too.

    python -m benchmarks.transforms
"""

import argparse
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from torch import Tensor

from benchmarks.report import machine, publish, rate
from data_shards.layout import COUNTS_PER_G
from pretrain import objectives
from pretrain.model import ModelConfig
from pretrain.objectives import Objectives
from pretrain.objectives.multitask import ORDER, MultiTask, MultiTaskConfig
from pretrain.transforms import chain, counts, texture
from pretrain.transforms.window_random import window_keys

LENGTH = 300
MODEL = ModelConfig("harnet10")
Window = NDArray[np.float64]
Random = np.random.Generator


def reverse(x: Window, random: Random) -> Window:
    """Flip in time."""
    return x[:, ::-1]


def scale(x: Window, random: Random) -> Window:
    """One factor per axis, redrawn until every one is clearly different from 1."""
    while True:
        factors = random.uniform(0.5, 1.5, 3)
        if (np.abs(factors - 1) >= 0.15).all():
            return x * factors[:, None]


def permute(x: Window, random: Random) -> Window:
    """Four segments, each longer than ten samples, in random order."""
    length = x.shape[1]
    while True:
        cuts = np.sort(random.integers(11, length - 10, 3))
        bounds = np.concatenate([[0], cuts, [length]])
        if np.diff(bounds).min() > 10:
            break
    return np.concatenate([x[:, bounds[part] : bounds[part + 1]] for part in random.permutation(4)], axis=1)


def warp(x: Window, random: Random) -> Window:
    """Per axis: cumulative spline through six knots as positions, linear interpolation from them."""
    time_points = np.arange(x.shape[1])
    knots = np.linspace(0, len(time_points) - 1, 6)
    speeds = random.normal(1.0, 0.2, (3, 6))
    positions = np.cumsum(CubicSpline(knots, speeds, axis=1)(time_points), axis=1)
    positions *= time_points[-1] / positions[:, -1:]
    return np.stack([np.interp(time_points, positions[axis], x[axis]) for axis in range(3)])


def turn(x: Window, random: Random) -> Window:
    """Axes in another order, then a rotation about a random axis."""
    axis, angle = random.uniform(-1, 1, 3), random.uniform(-np.pi, np.pi)
    a, b, c = axis / np.linalg.norm(axis)
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    matrix = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    return matrix.T @ x[random.permutation(3)]


PER_WINDOW = {"reversal": reverse, "scaling": scale, "permutation": permute, "time_warp": warp, "orientation": turn}


def window_by_window(stored: NDArray[np.int16], random: Random, names: tuple[str, ...]) -> int:
    """The work of a loader for each window: convert, decide, transform."""
    for window in stored:
        x = window / COUNTS_PER_G
        for name in names:
            if name == "orientation" or len(names) == 1 or random.random() < 0.5:
                x = PER_WINDOW[name](x, random)
        np.ascontiguousarray(x, np.float32)
    return len(stored)


def ours(windows: Tensor, keys: Tensor, name: str) -> int:
    """One transform of a whole batch, including its draws."""
    every: dict[str, chain.Transform] = {**chain.LABELLED, "orientation": chain.reoriented}
    every["noise"] = lambda x, keys: texture.noisy(x, keys, 0.01)
    every["low-pass"] = lambda x, keys: texture.low_pass(x, 10.0)
    every[name](counts.to_g(windows), keys)
    return len(windows)


def prepared(objective: objectives.Objective, windows: Tensor, keys: Tensor) -> int:
    """All draws and transforms of an objective, as in training."""
    objective.prepare(windows, keys)
    return len(windows)


def batch(size: int, device: str) -> tuple[Tensor, Tensor]:
    """Counts like those of a moving wrist, and keys."""
    noise = np.random.default_rng(0).normal(0, 0.3 * COUNTS_PER_G, (size, 3, LENGTH))
    windows = torch.from_numpy(noise.clip(-32767, 32767).astype(np.int16))
    return windows.to(device), window_keys(0, 0, torch.arange(size, device=device))


def on_one_core(size: int, repeats: int) -> None:
    """Batches versus single windows: each transform on every window, then all of them as in training."""
    torch.set_num_threads(1)
    # A training process has freed larger blocks by now, and its allocator keeps what it gets back.
    torch.ones(31 * 2**18)
    windows, keys = batch(size, "cpu")
    stored, random = windows[: size // 4].numpy(), np.random.default_rng(0)
    pairs: dict[str, tuple[Callable[[], int], Callable[[], int]]] = {
        name: (partial(ours, windows, keys, name), partial(window_by_window, stored, random, (name,)))
        for name in PER_WINDOW
    }
    for label, tasks in (("published three tasks", ORDER[:1] + ORDER[2:]), ("all four tasks", ORDER)):
        objective = MultiTask(MultiTaskConfig(tasks=tasks), MODEL)  # type: ignore[arg-type]
        together = partial(window_by_window, stored, random, (*tasks, "orientation"))
        pairs[label] = (partial(prepared, objective, windows, keys), together)
    rows: dict[str, float] = {}
    for label, (batched, single) in pairs.items():
        rows[f"{label}: batch"], rows[f"{label}: window by window"] = rate(batched, repeats), rate(single, repeats)
        print(f"{label}: {rows[f'{label}: batch'] / rows[f'{label}: window by window']:.1f} times", flush=True)
    for name in ("low-pass", "noise"):
        rows[f"{name}: batch"] = rate(partial(ours, windows, keys, name), repeats)
    for name in objectives.objective_names():
        chosen = objectives.create_objective(Objectives(objective=name), MODEL)
        rows[f"objective {name}: batch"] = rate(partial(prepared, chosen, windows, keys), repeats)
    publish("transforms", f"windows/s on one core, batches of {size}", rows, machine("scipy"))


def waited(work: Callable[[], object], windows: int, times: int = 20) -> int:
    """Repeat the work, then synchronise with the device."""
    for _ in range(times):
        work()
    torch.cuda.synchronize()
    return times * windows


def training_step(objective: objectives.Objective, windows: Tensor, keys: Tensor) -> Callable[[], None]:
    """A whole training step in bf16, from counts to update."""
    network = objective.build().cuda()
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)

    def forward(x: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16):
            output: Tensor = network(x)
        return output

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objectives.score_batch(objective, forward, windows, keys).loss.backward()
        optimizer.step()

    return step


def on_a_gpu(size: int, repeats: int) -> None:
    """Preparing a batch, kernel by kernel and as one CUDA graph, versus whole training steps in bf16."""
    windows, keys = batch(size, "cuda")
    rows: dict[str, float] = {}
    for name in objectives.objective_names():
        objective = objectives.create_objective(Objectives(objective=name), MODEL)
        prepare, step = partial(objective.prepare, windows, keys), training_step(objective, windows, keys)
        waited(prepare, size)
        waited(step, size)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            prepare()
        works: dict[str, Callable[[], object]] = {
            "prepare": prepare,
            "prepare, CUDA graph": graph.replay,
            "whole step, bf16": step,
        }
        for label, work in works.items():
            rows[f"{name}: {label}"] = rate(partial(waited, work, size), repeats)
        for label in ("prepare", "prepare, CUDA graph"):
            share = rows[f"{name}: whole step, bf16"] / rows[f"{name}: {label}"]
            print(f"{name}: {label} takes {share:.1%} of the time of a step", flush=True)
    publish("transforms-gpu", f"windows/s, harnet10, batches of {size}", rows, machine())


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--gpu-batch", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    on_one_core(arguments.batch, arguments.repeats)
    if torch.cuda.is_available():
        on_a_gpu(arguments.gpu_batch, arguments.repeats)
    else:
        print("no GPU here: the share of the training step was not measured")


if __name__ == "__main__":
    main()
