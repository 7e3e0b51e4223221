"""Checkpoints are written while training continues, and hold the state at the time they were started."""

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from pretrain.config import PretrainConfig
from pretrain.data.loading import LocalBatch
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint
from pretrain.run.background import BackgroundWriter, Snapshot
from pretrain.run.loop import Run
from pretrain.run.step import Gradient
from pretrain.run.training import train
from tests.pretrain.runs import alone, digest, in_processes, losses, small, stop_before


@pytest.fixture(scope="module")
def straight(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight") / "run"
    alone(small(shards, out, keep=9))
    return out


class Gate:
    """Holds back the writing of checkpoints until training has reached a step."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, open_at: int) -> None:
        self.open, self.reached, self.begun_at = Event(), 0, []
        save, gradient = checkpoint.save, Run.gradient

        def gated(run: Path, step: int, *others: Any) -> Path:
            assert self.open.wait(60)
            self.begun_at.append((step, self.reached))
            return save(run, step, *others)

        def passing(run: Run, part: LocalBatch) -> Gradient:
            self.reached = run.state.step + 1
            if self.reached >= open_at:
                self.open.set()
            return gradient(run, part)

        monkeypatch.setattr(checkpoint, "save", gated)
        monkeypatch.setattr(Run, "gradient", passing)


def test_training_goes_on_and_what_is_written_is_of_the_step_it_was_begun_at(
    straight: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch, open_at=4)
    alone(small(shards, tmp_path / "run", keep=9))
    assert gate.begun_at[0][0] == 2
    assert gate.begun_at[0][1] >= 4, "two steps were made while the checkpoint waited"
    assert losses(tmp_path / "run") == losses(straight)
    for step in (2, 4, 6):
        one, other = (run / "checkpoints" / f"step-{step:08d}" for run in (tmp_path / "run", straight))
        assert digest(one) == digest(other)


def test_a_stop_waits_until_the_checkpoint_is_complete(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_before(monkeypatch, 3, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        alone(small(shards, tmp_path / "run"))
    assert checkpoint.find(tmp_path / "run").step == 3


def test_a_disk_that_is_full_stops_the_run_at_its_next_step(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run")

    monkeypatch.setattr(checkpoint, "save", full)
    with pytest.raises(OSError, match="No space left") as error:
        alone(small(shards, tmp_path / "run", checkpoint_every=2, steps=6))
    assert error.value.errno == errno.ENOSPC
    assert max(losses(tmp_path / "run")) <= 5


def test_one_checkpoint_is_written_at_a_time() -> None:
    order: list[str] = []
    first = Event()

    def slow() -> None:
        assert first.wait(60)
        order.append("first")

    with BackgroundWriter() as writing:
        writing.begin(slow)
        writing.check()
        first.set()
        writing.begin(lambda: order.append("second"))
        assert order[0] == "first"
    assert order == ["first", "second"]


def test_left_by_an_error_the_work_ends_first_and_by_an_interrupt_it_does_not() -> None:
    done, hold = Event(), Event()
    with pytest.raises(ValueError, match="x"):
        leave_with(ValueError("x"), lambda: (time.sleep(0.1), done.set()))
    assert done.is_set()
    with pytest.raises(KeyboardInterrupt):
        leave_with(KeyboardInterrupt(), lambda: hold.wait(60))
    assert not hold.is_set()
    hold.set()


def leave_with(error: BaseException, work: Callable[[], object]) -> None:
    with BackgroundWriter() as writing:
        writing.begin(work)
        raise error


GPU = pytest.param(
    "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
)


@pytest.mark.parametrize("device", ["cpu", GPU])
def test_a_snapshot_does_not_change_with_the_original(device: str) -> None:
    tensor = torch.zeros(2, device=device)
    snapshot = Snapshot({"state": {0: {"step": tensor}}, "groups": [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0]}]})
    tensor += 1
    copied = snapshot.on_host()
    assert torch.equal(copied["state"][0]["step"], torch.zeros(2))
    assert copied["groups"] == [{"lr": 0.1, "betas": (0.9, 0.999), "params": [0]}]


def slow_to_write(process: Process, config: PretrainConfig) -> None:
    save = checkpoint.save

    def slow(*arguments: Any) -> Path:
        time.sleep(0.5)
        return save(*arguments)

    checkpoint.save = slow
    train(config, process)
    found = checkpoint.newest(config.run.out)
    assert found is not None
    assert found.step == 4


def test_no_process_ends_before_the_last_checkpoint_is_complete(shards: Path, tmp_path: Path) -> None:
    """Slurm kills the other processes soon after the first one ends."""
    in_processes(2, slow_to_write, small(shards, tmp_path / "run", steps=4))
