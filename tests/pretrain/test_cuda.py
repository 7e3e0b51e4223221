"""What the CPU cannot show. Run by `make gpu`; skipped, with a message, where there is no GPU."""

import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from data_shards.shards import manifest
from harnet.errors import HarnetError
from harnet.run_folder import read_log
from pretrain import objectives
from pretrain.config import PretrainConfig
from pretrain.data.loading import parts
from pretrain.objectives.simclr import SimCLRConfig
from pretrain.objectives.views import View
from pretrain.parallel import arithmetic
from pretrain.parallel.distributed import Process, joined
from pretrain.run.step import Step
from pretrain.run.training import train
from pretrain.transforms.draws import window_keys
from tests.pretrain.runs import alone, in_processes, losses, small, stop_before, train_in

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # The compiler of torch 2.13 still uses its own deprecated torch.jit.
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
]


def on_gpu(config: PretrainConfig) -> Path:
    with joined("cuda") as process:
        return train(replace(config, run=replace(config.run, device="cuda")), process)


@pytest.mark.parametrize("name", objectives.names())
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_every_objective_trains(name: str, precision: str, shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", {"ema_decay": 0.9}, precision=precision, accumulate=2)
    on_gpu(replace(config, objective=name, data=replace(config.data, workers=1)))
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(loss) for loss in losses(tmp_path / "run").values())
    assert all(row["memory_gib"] > 0 for row in read_log(tmp_path / "run") if row["kind"] == "train")


CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("name", objectives.names())
def test_gradients_are_those_of_the_cpu(name: str, shards: Path, tmp_path: Path) -> None:
    """In fp32, of networks without a zero: losses at the start are those of a coin, whatever the gradients are."""
    config = replace(small(shards, tmp_path, {"clip_norm": float("inf")}), objective=name)
    part = next(parts(manifest.read(shards), "train", config.order(), Process(0, 1, CPU), 0))
    found = []
    for device in (CPU, CUDA):
        arithmetic.settle(device, deterministic=False)
        torch.manual_seed(0)
        objective = objectives.create(config, config.model)
        network = objective.build()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.05 * torch.randn(parameter.shape))
        network.to(device)
        loss = Step(config, Process(0, 1, device), objective, network).gradient(part).loss
        # Heads of tasks that are not trained have none.
        given = [one.grad.flatten().cpu() for one in network.parameters() if one.grad is not None]
        found.append((loss.item(), torch.cat(given)))
    (loss, gradient), (other_loss, other) = found
    assert other_loss == pytest.approx(loss, rel=1e-4)
    assert gradient.norm() > 1e-3
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


def test_losses_are_those_of_the_cpu(shards: Path, tmp_path: Path) -> None:
    on_gpu(small(shards, tmp_path / "gpu"))
    alone(small(shards, tmp_path / "cpu"))
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), abs=1e-2)


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
    # Sums are taken in another order from run to run on a GPU.
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "straight"), abs=1e-2)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_a_compiled_run_has_the_losses_of_one_that_is_not(
    mode: str, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch._dynamo.reset()
    on_gpu(small(shards, tmp_path / "plain"))
    on_gpu(small(shards, tmp_path / "compiled", compile=mode))
    assert f"compiled, mode {mode}" in capsys.readouterr().out.splitlines()
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), abs=2e-2)


def test_too_little_memory_names_the_settings(shards: Path, tmp_path: Path) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-5)
    try:
        with pytest.raises(HarnetError, match=r"out of memory with 8 windows .* raise run.accumulate"):
            on_gpu(small(shards, tmp_path / "run"))
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_have_the_losses_of_one_with_synchronised_batch_statistics(shards: Path, tmp_path: Path) -> None:
    on_gpu(small(shards, tmp_path / "one", sync_batchnorm=True))
    config = small(shards, tmp_path / "two", sync_batchnorm=True)
    in_processes(2, train_in, replace(config, run=replace(config.run, device="cuda")), device="cuda")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-2)
