"""What a resumed run takes from its checkpoint, and what from the command line."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from harnet.errors import HarnetError
from harnet.run_folder import NETWORK
from pretrain.config import PretrainConfig
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint
from pretrain.run.build import build_run
from tests.pretrain.runs import alone, in_processes, losses, small, together


@pytest.mark.parametrize("fused", [True, False])
def test_the_kernels_of_the_optimiser_are_those_asked_for_now(shards: Path, tmp_path: Path, fused: bool) -> None:
    config = small(shards, tmp_path / "run", {"fused": not fused}, steps=4)
    alone(config)
    (checkpoint.find(tmp_path / "run").path / "COMPLETE").unlink()
    now = replace(config, optimizer=replace(config.optimizer, fused=fused))
    run = build_run(now, Process(0, 1, torch.device("cpu")))
    assert run.state.step == 2
    assert [group["fused"] for group in run.state.optimizer.param_groups] == [fused] * 2
    alone(now)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4]


def test_deterministic_algorithms_are_for_the_run_that_asks_for_them(shards: Path, tmp_path: Path) -> None:
    before = os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
    try:
        alone(small(shards, tmp_path / "run", deterministic=True, steps=3))
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        alone(small(shards, tmp_path / "other", steps=3))
        assert not torch.are_deterministic_algorithms_enabled()
        assert losses(tmp_path / "run") == losses(tmp_path / "other"), "the CPU has the same bits anyway"
    finally:
        torch.use_deterministic_algorithms(False)
        os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)
        os.environ |= {"CUBLAS_WORKSPACE_CONFIG": before} if before else {}


def counting(process: Process, config: PretrainConfig, out: Path) -> None:
    read, real = [], checkpoint._digest

    def digest(path: Path) -> str:
        read.append(path.name)
        return real(path)

    checkpoint._digest = digest
    run = build_run(config, process)
    (out / f"{process.rank}.txt").write_text(f"{run.state.step} {read.count(NETWORK)}")


def test_one_process_looks_for_the_checkpoint_and_tells_the_others(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", steps=4)
    together(config, 2)
    in_processes(2, counting, config, tmp_path)
    assert (tmp_path / "0.txt").read_text() == "4 2", "it compares the digests of both checkpoints"
    assert (tmp_path / "1.txt").read_text() == "4 0"


def test_a_run_may_be_as_long_as_some_epochs(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", steps=None, epochs=0.004)
    alone(config)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4], "an epoch has 1,027 steps"
    saved = checkpoint.find(tmp_path / "run").metadata["config"]["run"]
    assert (saved["steps"], saved["epochs"]) == (4, None)
    # The same command resumes it, and so does its length in steps.
    assert alone(config) == alone(small(shards, tmp_path / "run", steps=4))
    with pytest.raises(HarnetError, match=r"run.steps is 4 and run.epochs is 2: give only one of them"):
        small(shards, tmp_path, steps=4, epochs=2.0)
    with pytest.raises(HarnetError, match=r"run.epochs is 0"):
        small(shards, tmp_path, steps=None, epochs=0.0)
    assert small(shards, tmp_path, steps=None).steps == 10_000
