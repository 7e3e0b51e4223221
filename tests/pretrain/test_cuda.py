"""Tests that need a GPU. Run by `make gpu`; skipped, with a message, where there is no GPU."""

import math
import os
import signal
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import get_args

import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from data_shards.shards import manifest
from harnet.encoder import CircularConv1d, Encoder
from harnet.errors import HarnetError
from harnet.run_folder import read_log
from pretrain import objectives
from pretrain.config import PretrainConfig
from pretrain.data.loading import LocalBatch, local_batches
from pretrain.objectives.simclr import SimCLRConfig
from pretrain.objectives.views import View
from pretrain.optim import optimizers
from pretrain.optim.optimizers import OptimizerConfig
from pretrain.parallel import arithmetic
from pretrain.parallel.distributed import Process, process_group
from pretrain.run import checkpoint
from pretrain.run.build import build_run
from pretrain.run.loop import Run
from pretrain.run.step import BatchStep, Gradient
from pretrain.run.training import train
from pretrain.run.update import update
from pretrain.transforms.window_random import window_keys
from tests.pretrain.runs import in_processes, losses, small, stop_before, train_in
from tests.pretrain.test_update import everything

# cuBLAS and torch read it once, at the first matrix product of the process: too late in a test of deterministic runs.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# What the compiler warns of depends on the versions of torch and Triton, and on the GPU.
the_compiler_may_warn = pytest.mark.filterwarnings("ignore")

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # The compiler of torch 2.13 still uses its own deprecated torch.jit.
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


def on_gpu(config: PretrainConfig) -> Path:
    with process_group("cuda") as process:
        return train(replace(config, run=replace(config.run, device="cuda")), process)


@pytest.mark.parametrize("name", objectives.objective_names())
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_objective_trains(name: str, precision: str, shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", {"ema_decay": 0.9}, precision=precision, accumulate=2)
    on_gpu(replace(config, objective=name, data=replace(config.data, workers=1)))
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "run").values())
    assert all(row["memory_gib"] > 0 for row in read_log(tmp_path / "run") if row["kind"] == "train")


CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def gradient_on(device: torch.device, config: PretrainConfig) -> tuple[float, torch.Tensor, list[str]]:
    """Loss and gradient of one step of a network without zero weights, and the outcome of compilation."""
    part = next(local_batches(manifest.read(Path(config.data.shards)), "train", config.order(), Process(0, 1, CPU), 0))
    arithmetic.configure(device, deterministic=False)
    torch.manual_seed(0)
    objective = objectives.create_objective(config, config.model)
    network = objective.build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    network.to(device)
    step = BatchStep(config, Process(0, 1, device), objective, network)
    said = step.compile()
    loss = step.gradient(part).loss.item()
    # Heads of tasks that are not trained have no gradient.
    given = [one.grad.flatten().cpu() for one in network.parameters() if one.grad is not None]
    return loss, torch.cat(given), said


@pytest.mark.parametrize("name", objectives.objective_names())
@pytest.mark.parametrize(("precision", "most"), [("fp32", 1e-3), ("bf16", 0.5)])
def test_gradients_are_those_of_the_cpu(name: str, precision: str, most: float, shards: Path, tmp_path: Path) -> None:
    """The networks have no zero weights: usually the first loss is that of a coin toss, whatever the gradients are.

    bf16 on the CPU is off by a fifth; an unrelated gradient would be off by 1.4.
    """
    config = replace(small(shards, tmp_path, {"clip_norm": float("inf")}), objective=name)
    loss, gradient, _ = gradient_on(CPU, config)
    other_loss, other, _ = gradient_on(CUDA, replace(config, run=replace(config.run, precision=precision)))
    assert other_loss == pytest.approx(loss, rel=most / 10)
    assert gradient.norm() > 1e-3
    assert (other - gradient).norm() < most * gradient.norm()


@the_compiler_may_warn
@pytest.mark.parametrize("name", objectives.objective_names())
def test_compiled_gradients_are_those_of_the_cpu(name: str, shards: Path, tmp_path: Path) -> None:
    torch._dynamo.reset()
    config = replace(small(shards, tmp_path, {"clip_norm": float("inf")}), objective=name)
    _, gradient, _ = gradient_on(CPU, config)
    _, other, said = gradient_on(CUDA, replace(config, run=replace(config.run, compile="default")))
    assert said == ["compiled, mode default; transforms compiled"]
    assert (other - gradient).norm() < 1e-3 * gradient.norm()


@pytest.mark.parametrize("name", get_args(View))
def test_every_transform_is_that_of_the_cpu(name: View) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(64, 3, 300, generator=random)
    keys = window_keys(0, 0, torch.arange(64))
    views = SimCLRConfig(transforms=(name,), probability=1.0)
    expected = views.changed(x.clone(), keys)
    assert not torch.equal(expected, x)
    torch.testing.assert_close(views.changed(x.to(CUDA), keys.to(CUDA)).cpu(), expected, rtol=0, atol=1e-3)


def test_convolutions_are_given_channels_last() -> None:
    encoder, seen = Encoder("harnet5", width=16).cuda(), []
    for module in encoder.modules():
        if isinstance(module, CircularConv1d):
            module.register_forward_hook(lambda _, __, output: seen.append(output))
    encoder(torch.zeros(4, 3, 150, device="cuda"))
    assert len(seen) == 21
    assert all(output.is_contiguous(memory_format=torch.channels_last) for output in seen)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode:UserWarning")
def test_no_step_waits_for_the_device(shards: Path, tmp_path: Path) -> None:
    """torch raises where a call would wait. Waiting for the step before uses an event, which torch does not count."""
    config = small(shards, tmp_path / "run", {"ema_decay": 0.9}, accumulate=2)
    config = replace(config, run=replace(config.run, device="cuda"))
    with process_group("cuda") as process:
        run = build_run(config, process)
        batches = repeat(next(local_batches(run.manifest, "train", config.order(), process, 0)))
        run.step(batches, stop_requested=False)
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                run.step(batches, stop_requested=False)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_refused_update_leaves_every_bit_on_the_device() -> None:
    network = torch.nn.Linear(5, 4, device="cuda")
    optimizer = optimizers.create_optimizer(network, OptimizerConfig())
    part = LocalBatch(torch.zeros(1, 3, 150, dtype=torch.int16), torch.arange(1), 0)
    for bad in (False, True):
        before = [one.clone() for one in everything(network, optimizer)]
        loss = network(torch.ones(2, 5, device="cuda")).square().mean() * (math.nan if bad else 1.0)
        network.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        found = Gradient(loss.detach(), norm, {})
        asked = update(optimizer, found, part, 1, Process(0, 1, torch.device("cuda", 0)))
        assert asked.outcome()[2] == bad
        after = everything(network, optimizer)
        assert (len(after) == len(before) and all(map(torch.equal, after, before))) == bad


@pytest.mark.filterwarnings("ignore:.*does not have a deterministic implementation")
def test_a_deterministic_run_that_was_stopped_has_the_same_bits(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu(small(shards, tmp_path / "straight", deterministic=True))
    with monkeypatch.context() as patch:
        stop_before(patch, 3, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            on_gpu(small(shards, tmp_path / "run", deterministic=True))
    on_gpu(small(shards, tmp_path / "run", deterministic=True))
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert losses(tmp_path / "run", "heldout") == losses(tmp_path / "straight", "heldout")


def test_a_run_that_was_stopped_goes_on_with_the_same_windows(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu(small(shards, tmp_path / "straight"))
    with monkeypatch.context() as patch:
        stop_before(patch, 3, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            on_gpu(small(shards, tmp_path / "run"))
    on_gpu(small(shards, tmp_path / "run"))
    # On a GPU the order of summation varies from run to run.
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "straight"), abs=1e-2)


@the_compiler_may_warn
def test_a_compiled_run_with_cuda_graphs_learns_what_one_without_does(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights after six steps; epsilon is so large that the update is proportional to the gradient."""
    torch._dynamo.reset()
    finals = []
    for mode in ("off", "reduce-overhead"):
        on_gpu(small(shards, tmp_path / mode, {"name": "adam", "epsilon": 1.0}, compile=mode))
        weights = checkpoint.find(tmp_path / mode).network()
        finals.append(torch.cat([one.flatten().double() for one in weights.values()]))
    assert "compiled, mode reduce-overhead" in capsys.readouterr().out
    assert (finals[1] - finals[0]).norm() < 1e-3 * finals[0].norm()


def test_too_little_memory_names_the_settings(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Allocates more than any card has: a run of this size fits into the memory that the allocator already holds."""
    monkeypatch.setattr(Run, "gradient", lambda self, part: torch.empty(1 << 50, dtype=torch.uint8, device="cuda"))
    with pytest.raises(HarnetError, match=r"out of memory with 8 windows .* raise run.accumulate"):
        on_gpu(small(shards, tmp_path / "run"))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_have_the_losses_of_one_with_synchronised_batch_statistics(shards: Path, tmp_path: Path) -> None:
    on_gpu(small(shards, tmp_path / "one", sync_batchnorm=True))
    config = small(shards, tmp_path / "two", sync_batchnorm=True)
    in_processes(2, train_in, replace(config, run=replace(config.run, device="cuda")), device="cuda")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-2)
