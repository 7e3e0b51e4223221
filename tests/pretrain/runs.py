"""A run small enough for a test, in this process or in several gloo processes."""

import json
import multiprocessing
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from harnet.run_folder import read_log
from pretrain.config import DataConfig, PretrainConfig, RunConfig
from pretrain.model import ModelConfig
from pretrain.optim.optimizers import OptimizerConfig
from pretrain.parallel.distributed import Process, process_group
from pretrain.run.loop import Run
from pretrain.run.probe import ProbeConfig
from pretrain.run.training import train

CONTEXT = multiprocessing.get_context("forkserver")
"""Starts processes that need not import torch again: a fork server imports it once."""
# Set here, because whatever starts the first process, such as a loader, also starts the server.
CONTEXT.set_forkserver_preload(["tests.pretrain.runs"])


def small(
    shards: Path, out: Path, optimizer: dict | None = None, probe: ProbeConfig | None = None, **run: object
) -> PretrainConfig:
    settings = {
        "steps": 6,
        "log_every": 1,
        "evaluate_every": 3,
        "checkpoint_every": 2,
        "precision": "fp32",
        "compile": "off",
    } | run
    return PretrainConfig(
        data=DataConfig(
            str(shards), batch=8, lanes=4, shuffle_windows=20, windows_per_visit=16, workers=0, heldout_windows=16
        ),
        run=RunConfig(out, device="cpu", **settings),
        model=ModelConfig(architecture="harnet5", width=8),
        optimizer=OptimizerConfig(**({"warmup_steps": 2} | (optimizer or {}))),
        probe=probe or ProbeConfig(),
    )


def alone(config: PretrainConfig) -> Path:
    with process_group("cpu") as process:
        return train(config, process)


def stop_before(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a signal just before it makes that step."""
    real = Run.step

    def signalled(self: Run, batches: object, stop_requested: bool) -> tuple[bool, bool]:
        if self.state.step + 1 == step:
            os.kill(os.getpid(), number)
            stop_requested = True
        return real(self, batches, stop_requested)

    monkeypatch.setattr(Run, "step", signalled)


def losses(out: Path, kind: str = "train") -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_log(out) if row["kind"] == kind}


def digest(checkpoint: Path) -> dict[str, str]:
    """Digests of a checkpoint's tensors."""
    marker = json.loads((checkpoint / "COMPLETE").read_text())
    return {name: value for name, value in marker.items() if name != "about.json"}


def _one_of_many(work: Callable[..., None], arguments: tuple, rank: int, world: int, port: int, device: str) -> None:
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    torch.set_num_threads(1)
    with process_group(device) as process:
        work(process, *arguments)


def in_processes(
    world: int, work: Callable[..., None], *arguments: object, timeout: float = 240, device: str = "cpu"
) -> None:
    """Call `work(process, *arguments)` in `world` processes; all must finish in time and without error."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        CONTEXT.Process(target=_one_of_many, args=(work, arguments, rank, world, port, device)) for rank in range(world)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout)
    hung = [process for process in processes if process.is_alive()]
    for process in hung:
        process.kill()
    assert not hung
    assert [process.exitcode for process in processes] == [0] * world


def train_in(process: Process, config: PretrainConfig) -> None:
    """Train as one of several processes."""
    train(config, process)


def together(config: PretrainConfig, world: int) -> None:
    """Train with `world` gloo processes."""
    in_processes(world, train_in, config)
