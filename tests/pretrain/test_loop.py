import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from harnet import console
from harnet.errors import HarnetError
from pretrain import checkpoint, loop
from pretrain.loop import Run
from pretrain.objectives import Outcome
from tests.pretrain.runs import alone, digest, losses, small

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def straight(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of six undisturbed steps."""
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
    real = Run.step

    def step(self: Run, batches: object, stop_requested: bool) -> bool:
        if self.state.step + 1 == stop_at:
            os.kill(os.getpid(), number)
            stop_requested = True
        return real(self, batches, stop_requested)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "step", step)
        with pytest.raises(KeyboardInterrupt):
            alone(config)
    assert checkpoint.find(tmp_path / "run").step == stop_at
    final = alone(config)
    assert losses(tmp_path / "run") == losses(straight)
    assert losses(tmp_path / "run", "heldout") == losses(straight, "heldout")
    assert digest(final) == digest(straight / "checkpoints" / "step-00000006")


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


def test_another_configuration_or_manifest_does_not_resume(straight: Path, shards: Path) -> None:
    config = small(shards, straight)
    with pytest.raises(HarnetError, match=r"run.seed was 0, now 1"):
        alone(replace(config, run=replace(config.run, seed=1)))
    with pytest.raises(HarnetError, match=r"model.standardise was True, now False"):
        alone(replace(config, model=replace(config.model, standardise=False)))


def test_a_loss_that_is_not_finite_stops_before_the_update(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Run.outcome

    def outcome(self: Run, part: object) -> Outcome:
        found = real(self, part)
        return Outcome(found.loss * float("nan"), found.metrics) if self.state.step == 4 else found

    monkeypatch.setattr(Run, "outcome", outcome)
    with pytest.raises(HarnetError, match=r"step 5: loss nan .* not finite"):
        alone(small(shards, tmp_path / "run"))
    saved = checkpoint.find(tmp_path / "run")
    assert saved.step == 4
    assert all(torch.isfinite(tensor).all() for tensor in saved.network().values() if tensor.is_floating_point())


def test_training_moves_every_trained_parameter(straight: Path, shards: Path) -> None:
    torch.manual_seed(0)
    start = loop.MultiTask(small(shards, straight).multitask, small(shards, straight).model).build().state_dict()
    end = checkpoint.find(straight).network()
    still = {name for name in end if torch.equal(start[name], end[name]) and not name.endswith("kernel")}
    # Scaling is not among the default tasks: its head stays at zero, and nothing else stands still.
    assert still == {"scale_h.linear1.weight", "scale_h.linear1.bias"}


def test_too_many_readers_for_the_lanes_are_refused(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run")
    with pytest.raises(HarnetError, match=r"data.lanes = 4 cannot be dealt to 3 readers"):
        alone(replace(config, data=replace(config.data, workers=3)))
    assert not (tmp_path / "run" / "checkpoints").exists()
