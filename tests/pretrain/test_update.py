"""A refused update leaves every bit unchanged, and all processes act alike at the same step."""

import copy
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("tensorboard", reason="needs tensorboard: pip install 'harnet[train]'")

from pretrain.config import PretrainConfig
from pretrain.data.loading import LocalBatch
from pretrain.optim import optimizers
from pretrain.optim.optimizers import OptimizerConfig
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint
from pretrain.run.agreement import Agreement
from pretrain.run.loop import Run
from pretrain.run.step import Gradient
from pretrain.run.training import train
from pretrain.run.update import update
from tests.pretrain.runs import digest, in_processes, losses, small, together

ALONE = Process(0, 1, torch.device("cpu"))
PART = LocalBatch(torch.zeros(2, 3, 150, dtype=torch.int16), torch.arange(2), epoch=0)


def trained(recipe: OptimizerConfig, steps: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 1))
    optimizer = optimizers.create_optimizer(network, recipe)
    for _ in range(steps):
        gradient(network)
        optimizer.step()
    return network, optimizer


def gradient(network: nn.Module, factor: float = 1.0) -> Gradient:
    network.zero_grad()
    loss = (network(torch.ones(3, 5)) - 1.0).square().mean() * factor
    loss.backward()
    return Gradient(loss.detach(), nn.utils.clip_grad_norm_(network.parameters(), 1.0), {})


def everything(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[torch.Tensor]:
    states = [value for state in optimizer.state.values() for value in state.values()]
    return [*network.state_dict().values(), *states]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize(("name", "amsgrad"), [("adamw", False), ("adam", True)])
@pytest.mark.parametrize("bad", ["loss", "norm", "gradient"])
def test_a_refused_update_leaves_every_bit(name: str, amsgrad: bool, fused: bool, bad: str) -> None:
    network, optimizer = trained(OptimizerConfig(name=name, amsgrad=amsgrad, fused=fused), 2)  # type: ignore[arg-type]
    before = copy.deepcopy(everything(network, optimizer))
    found = gradient(network, float("nan") if bad == "gradient" else 1.0)
    if bad != "gradient":
        found = replace(found, **{bad: torch.tensor(float("inf"))})
    loss, norm, refused = update(optimizer, found, PART, 3, ALONE).outcome()
    assert refused
    assert not (torch.tensor([loss, norm]).isfinite().all())
    assert all(map(torch.equal, everything(network, optimizer), before))


@pytest.mark.parametrize("fused", [True, False])
def test_an_update_that_is_made_has_the_bits_of_a_plain_one(fused: bool) -> None:
    (network, optimizer), plain = (trained(OptimizerConfig(fused=fused), 2) for _ in range(2))
    for _ in range(2):
        assert not update(optimizer, gradient(network), PART, 3, ALONE).outcome()[2]
        gradient(plain[0])
        plain[1].step()
    assert all(map(torch.equal, everything(network, optimizer), everything(*plain)))


def ask(process: Process, out: Path) -> None:
    agreement = Agreement(process)
    first, second = process.rank == 0, process.rank == 1
    answers = [agreement.any_rank(second and call == 3, first and call > 3) for call in range(1, 7)]
    dropped = agreement.settle()
    answers += [dropped, agreement.settle(), agreement.any_rank(False, False), agreement.any_rank(False, False)]
    agreement.settle()
    (out / f"{process.rank}.txt").write_text(repr(answers))


def test_questions_are_answered_alike_one_step_later(tmp_path: Path) -> None:
    in_processes(2, ask, tmp_path)
    no, stop, save = [False, False], [True, False], [False, True]
    expected = repr([no, no, no, stop, save, save, save, [], no, no])
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == [expected] * 2


def test_a_process_alone_has_its_answer_at_once() -> None:
    assert Agreement(ALONE).any_rank(True, False) == [True, False]


def with_one_signal(process: Process, config: PretrainConfig, number: int, out: Path) -> None:
    """Only the second process is asked to stop, just before step 3."""
    real = Run.step

    def step(self: Run, batches: object, stop_requested: bool) -> tuple[bool, bool]:
        if process.rank == 1 and self.state.step + 1 == 3:
            signal.raise_signal(number)
            stop_requested = True
        return real(self, batches, stop_requested)  # type: ignore[arg-type]

    Run.step = step  # type: ignore[method-assign]
    try:
        train(config, process)
    except KeyboardInterrupt:
        (out / f"{process.rank}.txt").write_text("stopped")


def test_a_signal_to_one_process_stops_all_at_the_next_step_and_the_run_goes_on_from_there(
    shards: Path, tmp_path: Path
) -> None:
    config = small(shards, tmp_path / "run", checkpoint_every=100)
    in_processes(2, with_one_signal, config, signal.SIGTERM, tmp_path)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)] == ["stopped"] * 2
    assert checkpoint.find(tmp_path / "run").step == 4
    together(config, 2)
    together(small(shards, tmp_path / "straight", checkpoint_every=100), 2)
    assert losses(tmp_path / "run") == losses(tmp_path / "straight")
    assert digest(checkpoint.find(tmp_path / "run").path) == digest(checkpoint.find(tmp_path / "straight").path)
