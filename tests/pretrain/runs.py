"""A run small enough for a test, in this process or in several that talk gloo."""

import json
import multiprocessing
import os
import socket
from pathlib import Path

import torch

from pretrain import log
from pretrain.config import DataConfig, ModelConfig, OptimizerConfig, PretrainConfig, RunConfig
from pretrain.distributed import joined
from pretrain.loop import train


def small(shards: Path, out: Path, **run: object) -> PretrainConfig:
    settings = {"steps": 6, "log_every": 1, "evaluate_every": 3, "checkpoint_every": 2, "precision": "fp32", **run}
    return PretrainConfig(
        data=DataConfig(
            shards, batch=8, lanes=4, shuffle_windows=20, windows_per_visit=16, workers=0, heldout_windows=16
        ),
        run=RunConfig(out, device="cpu", **settings),
        model=ModelConfig(architecture="harnet5"),
        optimizer=OptimizerConfig(warmup_steps=2),
    )


def alone(config: PretrainConfig) -> Path:
    with joined("cpu") as process:
        return train(config, process)


def losses(out: Path, kind: str = "train") -> dict[int, float]:
    return {row["step"]: row["loss"] for row in log.read(out) if row["kind"] == kind}


def digest(checkpoint: Path) -> dict[str, str]:
    """Digests of a checkpoint's tensors."""
    marker = json.loads((checkpoint / "COMPLETE").read_text())
    return {name: value for name, value in marker.items() if name != "about.json"}


def _one_of_many(config: PretrainConfig, rank: int, world: int, port: int) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with joined("cpu") as process:
        train(config, process)


def together(config: PretrainConfig, world: int, timeout: float = 240) -> None:
    """Train with `world` gloo processes; all must finish in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_one_of_many, args=(config, rank, world, port)) for rank in range(world)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout)
    hung = [process for process in processes if process.is_alive()]
    for process in hung:
        process.kill()
    assert not hung
    assert [process.exitcode for process in processes] == [0] * world
