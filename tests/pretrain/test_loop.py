import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from data_shards.shards import manifest
from harnet import console
from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.run_folder import read_log
from pretrain import objectives
from pretrain.config import PretrainConfig
from pretrain.data.loading import LocalBatch, local_batches
from pretrain.optim import schedules
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint, loop
from pretrain.run.loop import Run
from pretrain.run.probe import ProbeConfig
from pretrain.run.step import BatchStep, Gradient
from tests.pretrain.runs import alone, digest, losses, small, stop_before

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def straight(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder after six undisturbed steps."""
    out = tmp_path_factory.mktemp("straight") / "run"
    alone(small(shards, out))
    return out


def test_a_run_leaves_logs_curves_and_two_checkpoints(straight: Path) -> None:
    assert list(losses(straight)) == [1, 2, 3, 4, 5, 6]
    assert list(losses(straight, "heldout")) == [3, 6]
    assert all(math.isfinite(loss) for loss in losses(straight).values())
    names = sorted(path.name for path in (straight / "checkpoints").iterdir())
    assert names == ["step-00000004", "step-00000006"]
    assert list((straight / "tensorboard").iterdir())
    place = {"epoch": 0, "step_in_epoch": 6, "steps_per_epoch": 1027}
    assert checkpoint.find(straight).metadata["stream"] == place


def test_a_line_of_the_log_has_what_the_documents_say(straight: Path) -> None:
    text = (ROOT / "docs" / "pretrain.md").read_text()
    row = next(row for row in read_log(straight) if row["kind"] == "train")
    tasks = ("reversal", "permutation", "time_warp")
    expected = {"kind", "step", "loss"} | {f"{kind}/{task}" for kind in ("loss", "accuracy") for task in tasks}
    documented = {"gradient_norm", "learning_rate", "windows_per_second", "windows_per_second_per_process"}
    documented |= {"allocator_retries", "out_of_memory"}
    documented |= {"share_waiting_for_data", "model_flops_utilisation", "memory_gib", "skipped_blocks"}
    assert row.keys() == expected | documented
    assert all(f"`{name.replace('windows_per_second_', '…_')}`" in text for name in documented)
    assert 0 <= row["share_waiting_for_data"] < 1
    assert 0 < row["model_flops_utilisation"] < 1
    assert row["windows_per_second"] > 0


def test_the_same_seed_gives_the_same_bits(straight: Path, shards: Path, tmp_path: Path) -> None:
    final = alone(small(shards, tmp_path / "run"))
    assert losses(tmp_path / "run") == losses(straight)
    assert digest(final) == digest(straight / "checkpoints" / "step-00000006")


def test_loader_processes_change_nothing(straight: Path, shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run")
    final = alone(replace(config, data=replace(config.data, workers=2)))
    assert losses(tmp_path / "run") == losses(straight)
    assert digest(final) == digest(straight / "checkpoints" / "step-00000006")


@pytest.mark.parametrize(("stop_at", "number"), [(1, signal.SIGINT), (3, signal.SIGTERM), (5, signal.SIGUSR2)])
def test_stopped_by_a_signal_and_resumed_it_is_the_straight_run(
    straight: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int, number: int
) -> None:
    config = small(shards, tmp_path / "run")
    with monkeypatch.context() as patch:
        stop_before(patch, stop_at, number)
        with pytest.raises(KeyboardInterrupt):
            alone(config)
    assert checkpoint.find(tmp_path / "run").step == stop_at
    final = alone(config)
    assert losses(tmp_path / "run") == losses(straight)
    assert losses(tmp_path / "run", "heldout") == losses(straight, "heldout")
    assert digest(final) == digest(straight / "checkpoints" / "step-00000006")


def with_everything(shards: Path, out: Path, labelled: Path) -> PretrainConfig:
    """Moving average, micro-batches, early stopping, probe, and the published optimiser and schedule."""
    recipe = {"ema_decay": 0.9, "name": "adam", "amsgrad": True, "weight_decay": 0.0, "schedule": "published"}
    probe = ProbeConfig(labelled, every=2, folds=2)
    return small(
        shards, out, recipe | {"clip_norm": float("inf")}, probe, accumulate=2, patience=9, evaluate_every=1, steps=5
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows of three people with two activities each."""
    folder, random = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    np.save(folder / "X.npy", random.normal(0.6, 0.1, (12, 3, 150)).astype(np.float32))
    np.save(folder / "Y.npy", np.tile(["walk", "sit"], 6))
    np.save(folder / "pid.npy", np.repeat(["a", "b", "c"], 4))
    return folder


@pytest.fixture(scope="module")
def everything(shards: Path, labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("everything") / "run"
    alone(with_everything(shards, out, labelled))
    return out


def test_with_everything_on_all_of_it_is_logged(everything: Path) -> None:
    rows = {kind: [row for row in read_log(everything) if row["kind"] == kind] for kind in ("heldout", "probe")}
    assert [row["step"] for row in rows["probe"]] == [2, 4, 5]
    assert {"ema/loss", "ema/accuracy/reversal", "loss"} < rows["heldout"][0].keys()
    assert "linear/macro_f1" in rows["probe"][0]
    assert (everything / "checkpoints" / "step-00000005" / "average.safetensors").is_file()


@pytest.mark.parametrize("stop_at", [1, 2, 3, 4, 5])
def test_stopped_at_any_step_and_resumed_with_everything_on(
    everything: Path, labelled: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    config = with_everything(shards, tmp_path / "run", labelled)
    with monkeypatch.context() as patch:
        stop_before(patch, stop_at, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            alone(config)
    final = alone(config)
    speed = {"windows_per_second", "windows_per_second_per_process", "share_waiting_for_data"}
    speed |= {"model_flops_utilisation", "memory_gib"}
    numbers = [
        [{name: value for name, value in row.items() if name not in speed} for row in read_log(run)]
        for run in (tmp_path / "run", everything)
    ]
    assert numbers[0] == numbers[1]
    assert digest(final) == digest(everything / "checkpoints" / "step-00000005")
    before, after = (json.loads((run / "about.json").read_text()) for run in (final, checkpoint.find(everything).path))
    assert before["early_stopping"] == after["early_stopping"]


def test_early_stopping_ends_the_run_keeps_the_best_and_stays_ended(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real, told = Run.evaluate, {1: 5.0, 2: 3.0, 3: 4.0, 4: 6.0}
    monkeypatch.setattr(Run, "evaluate", lambda self: real(self) | {"loss": told[self.state.step]})
    config = small(shards, tmp_path / "run", evaluate_every=1, patience=2, checkpoint_every=100)
    final = alone(config)
    assert final.name == "step-00000004"
    assert "stopped early at step 4: best held-out loss 3.0 at step 2\n" in capsys.readouterr().out
    assert sorted(path.name for path in final.parent.iterdir()) == ["step-00000002", "step-00000004"]
    assert json.loads((final / "about.json").read_text())["early_stopping"]["best_step"] == 2
    assert alone(config) == final
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4]


def test_every_step_uses_the_rate_of_the_schedule(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, real = [], Run.gradient

    def gradient(self: Run, part: LocalBatch) -> Gradient:
        rates = {group["lr"] for group in self.state.optimizer.param_groups}
        assert rates == {schedules.learning_rate(self.state.step, self.config.optimizer, self.horizon)}
        used.extend(rates)
        return real(self, part)

    monkeypatch.setattr(Run, "gradient", gradient)
    alone(small(shards, tmp_path / "run", steps=4, evaluate_every=100))
    assert used[0] < used[1] > used[-1], "it warms up and decays"
    assert [row["learning_rate"] for row in read_log(tmp_path / "run") if row["kind"] == "train"] == used


def test_checkpoints_are_written_by_the_clock_too(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step takes 20.2 s: the third ends 60.6 s after the start, and the sixth as long after that checkpoint."""
    now, real = [1000.0], Run.gradient

    def gradient(self: Run, part: LocalBatch) -> Gradient:
        now[0] += 20.2
        return real(self, part)

    monkeypatch.setattr(Run, "gradient", gradient)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: now[0]))
    alone(small(shards, tmp_path / "run", steps=7, checkpoint_every=100, checkpoint_minutes=1.0, keep=9))
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-00000003", "step-00000006", "step-00000007"]
    assert "stopped early" not in capsys.readouterr().out


def test_patience_without_held_out_people_is_refused(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", patience=2)
    with pytest.raises(HarnetError, match=r"run.patience is 2, but there is no held-out loss"):
        alone(replace(config, data=replace(config.data, heldout_windows=0)))


def test_pieces_of_a_batch_give_the_gradient_of_the_whole(shards: Path, tmp_path: Path) -> None:
    """Without batch statistics, which depend on the micro-batch, the mean over micro-batches is the whole gradient."""
    config = small(shards, tmp_path)
    process = Process(0, 1, torch.device("cpu"))
    part = next(local_batches(manifest.read(shards), "train", config.order(), process, 0))
    gradients = []
    for count in (1, 2, 4):
        torch.manual_seed(1)
        network = PretextModel("harnet5", width=8).eval()
        piecewise = replace(config, run=replace(config.run, accumulate=count))
        found = BatchStep(piecewise, process, objectives.create_objective(config, config.model), network).gradient(part)
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()] + [found.loss.reshape(1)]))
    for gradient in gradients[1:]:
        torch.testing.assert_close(gradient, gradients[0], rtol=1e-4, atol=1e-6)


def test_killed_without_warning_it_repeats_from_the_last_checkpoint(
    straight: Path, shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    paths = f"Path({str(shards)!r}), Path({str(out)!r})"
    code = f"from pathlib import Path; from tests.pretrain.runs import *; alone(small({paths}))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and checkpoint.newest(out) is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    final = alone(small(shards, out))
    assert losses(out) == losses(straight)
    assert digest(final) == digest(straight / "checkpoints" / "step-00000006")


def test_a_signal_to_the_whole_process_group_leaves_a_checkpoint(straight: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = ("--config", ROOT / "tests" / "pretrain" / "small.toml", "--data.shards", shards, "--run.out", out)
    command = [sys.executable, "-m", "pretrain", *map(str, config), "--data.workers", "1", "--run.steps", "200"]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not losses(out):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGUSR2)
    _, error = process.communicate(timeout=120)
    assert process.returncode == console.INTERRUPTED, error
    assert checkpoint.find(out).step == max(losses(out))


def test_another_configuration_or_manifest_does_not_resume(straight: Path, shards: Path, tmp_path: Path) -> None:
    config = small(shards, straight)
    with pytest.raises(HarnetError, match=r"run.seed was 0, now 1"):
        alone(replace(config, run=replace(config.run, seed=1)))
    with pytest.raises(HarnetError, match=r"model.standardise was True, now False"):
        alone(replace(config, model=replace(config.model, standardise=False)))
    with pytest.raises(HarnetError, match=r"model.architecture was 'harnet5', now 'harnet10'"):
        alone(replace(config, model=replace(config.model, architecture="harnet10")))
    (tmp_path / "withdrawn.txt").write_text("p0\n")
    with pytest.raises(HarnetError, match=r"manifest was \w{16} \(8 people, .*now \w{16} \(7 people, "):
        alone(replace(config, data=replace(config.data, exclude=tmp_path / "withdrawn.txt")))


def test_a_loss_that_is_not_finite_stops_before_the_update(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Run.gradient

    def gradient(self: Run, part: LocalBatch) -> Gradient:
        found = real(self, part)
        return replace(found, loss=found.loss * float("nan")) if self.state.step == 4 else found

    monkeypatch.setattr(Run, "gradient", gradient)
    with pytest.raises(HarnetError, match=r"step 5: loss nan .* not finite.*\.tar: block at byte \d+") as error:
        alone(small(shards, tmp_path / "run"))
    listed = (tmp_path / "run" / "not-finite-step-00000005-process-0.txt").read_text().splitlines()
    assert 1 <= len(listed) <= 8
    assert listed[0] in str(error.value)
    saved = checkpoint.find(tmp_path / "run")
    assert saved.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in saved.network().values() if tensor.is_floating_point())


def test_training_moves_every_trained_parameter(straight: Path, shards: Path) -> None:
    torch.manual_seed(0)
    config = small(shards, straight)
    start = objectives.create_objective(config, config.model).build().state_dict()
    end = checkpoint.find(straight).network()
    still = {name for name in end if torch.equal(start[name], end[name]) and not name.endswith("kernel")}
    # Scaling is not among the default tasks, so its head stays at zero; everything else is trained.
    assert still == {"scale_h.linear1.weight", "scale_h.linear1.bias"}


def test_pieces_that_lanes_cannot_fill_are_refused(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"data.lanes = 4 cannot be divided evenly over 3"):
        alone(small(shards, tmp_path / "run", accumulate=3))


def test_out_of_memory_names_the_settings(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "gradient", lambda self, part: torch.empty(1 << 50))
    with pytest.raises(HarnetError, match=r"out of memory with 8 windows .* raise run.accumulate, lower data.batch"):
        alone(small(shards, tmp_path / "run"))


def test_too_many_readers_for_the_lanes_are_refused(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run")
    with pytest.raises(HarnetError, match=r"data.lanes = 4 cannot be divided evenly over 3 readers"):
        alone(replace(config, data=replace(config.data, workers=3)))
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_is_clipped_and_the_norm_in_the_log_is_that_before(
    shards: Path, tmp_path: Path, accumulate: int
) -> None:
    found = {}
    for limit in (float("inf"), 0.01):
        config = small(shards, tmp_path, {"clip_norm": limit}, accumulate=accumulate)
        process = Process(0, 1, torch.device("cpu"))
        part = next(local_batches(manifest.read(shards), "train", config.order(), process, 0))
        torch.manual_seed(1)
        network = PretextModel("harnet5", width=8)
        norm = (
            BatchStep(config, process, objectives.create_objective(config, config.model), network).gradient(part).norm
        )
        gradient = torch.cat([p.grad.flatten() for p in network.parameters()])
        found[limit] = norm, gradient
    (norm, whole), (same, clipped) = found.values()
    assert norm == same == pytest.approx(whole.norm().item(), rel=1e-5)
    assert norm > 0.01, "or there was nothing to clip"
    torch.testing.assert_close(clipped, whole * 0.01 / norm, rtol=1e-4, atol=1e-9)
