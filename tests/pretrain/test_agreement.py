"""A condition found by one process stops all of them at the same step, and none hangs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from harnet.errors import HarnetError
from pretrain.config import PretrainConfig
from pretrain.data.loading import LocalBatch
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint
from pretrain.run.build import build_run
from pretrain.run.log import Log
from pretrain.run.loop import Run
from pretrain.run.signals import StopRequest
from pretrain.run.step import Gradient
from pretrain.run.training import train
from tests.pretrain.runs import in_processes, losses, small


def told(process: Process, config: PretrainConfig, out: Path) -> None:
    """Train, and write the error to a file."""
    try:
        train(config, process)
    except HarnetError as error:
        (out / f"{process.rank}.txt").write_text(str(error))


def with_bad_loss(process: Process, config: PretrainConfig, out: Path) -> None:
    """Only the second process has a loss of NaN, in step 5."""
    real = Run.gradient

    def gradient(self: Run, part: LocalBatch) -> Gradient:
        found = real(self, part)
        bad = self.state.step == 4 and process.rank == 1
        return replace(found, loss=found.loss * float("nan")) if bad else found

    Run.gradient = gradient  # type: ignore[method-assign]
    told(process, config, out)


def test_a_loss_that_is_not_finite_on_one_process_stops_all_before_the_update(shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    in_processes(2, with_bad_loss, small(shards, out), tmp_path)
    first, second = ((tmp_path / f"{rank}.txt").read_text() for rank in range(2))
    assert second.startswith("step 5: loss nan ")
    assert "this is rank 0; see first the message of a rank whose loss is not finite" in first
    assert checkpoint.find(out).step == 4
    assert list(losses(out)) == [1, 2, 3, 4]
    assert all((out / f"not-finite-step-00000005-process-{rank}.txt").is_file() for rank in range(2))


class Imprecise(Process):
    """A process whose sums differ slightly from those of the others."""

    def sum(self, values: Tensor) -> Tensor:
        total = super().sum(values)
        return total * (1 + 1e-3 * self.rank) if total.dtype == torch.float64 else total


def until_early_stop(process: Process, config: PretrainConfig, out: Path) -> None:
    run = build_run(config, Imprecise(process.rank, process.world, process.device))
    with Log([]) as log, StopRequest() as stop:
        run.train(log, stop)
    found = run.state.stopping.as_dict() | {"stopped_at": run.state.step}
    (out / f"{process.rank}.json").write_text(json.dumps(found))


def test_all_processes_stop_early_at_the_same_step(shards: Path, tmp_path: Path) -> None:
    # So large a learning rate that the held-out loss gets worse.
    config = small(shards, tmp_path / "run", {"learning_rate": 0.5}, steps=40, evaluate_every=1, patience=2)
    in_processes(2, until_early_stop, config, tmp_path)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["stopped_at"] < 40
    assert first["worse"] == 2


def each_its_own(process: Process, configs: list[PretrainConfig], out: Path) -> None:
    told(process, configs[process.rank], out)


@pytest.mark.parametrize("other", ["options", "shards", "run folder"])
def test_processes_that_were_told_differently_do_not_begin(shards: Path, tmp_path: Path, other: str) -> None:
    config = small(shards, tmp_path / "run")
    if other == "options":
        theirs = replace(config, run=replace(config.run, evaluate_every=2))
    elif other == "shards":
        (tmp_path / "withdrawn.txt").write_text("p0\n")
        theirs = replace(config, data=replace(config.data, exclude=tmp_path / "withdrawn.txt"))
    else:
        in_processes(2, told, small(shards, tmp_path / "run", steps=6), tmp_path)
        theirs = replace(config, run=replace(config.run, out=tmp_path / "empty"))
    in_processes(2, each_its_own, [config, theirs], tmp_path)
    for rank in range(2):
        assert "but other ranks would not" in (tmp_path / f"{rank}.txt").read_text()


def test_a_node_may_have_its_own_copy_of_the_shards(shards: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(shards, tmp_path / "copy")
    config = small(shards, tmp_path / "run", steps=3)
    theirs = replace(config, data=replace(config.data, shards=str(copy)))
    in_processes(2, each_its_own, [config, theirs], tmp_path)
    assert list(losses(tmp_path / "run")) == [1, 2, 3]
    assert not list(tmp_path.glob("*.txt"))
