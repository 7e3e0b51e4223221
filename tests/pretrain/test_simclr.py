import multiprocessing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from pretrain.model import ModelConfig
from pretrain.objectives.simclr import SimCLR, SimCLRConfig, _Gather, nt_xent
from pretrain.transforms import counts
from pretrain.transforms.window_random import window_keys

KEYS = window_keys(seed=0, epoch=0, positions=torch.arange(16))
WINDOWS = (1000 * torch.randn(16, 3, 150, generator=torch.Generator().manual_seed(0))).short()
OBJECTIVE = SimCLR(SimCLRConfig(temperature=0.2), ModelConfig(architecture="harnet5", width=8))


def test_the_loss_is_the_papers_formula() -> None:
    vectors = torch.randn(10, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    unit = vectors / vectors.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(10):
        similar = [float(torch.exp(unit[i] @ unit[k] / 0.2)) for k in range(10)]
        positive = (i + 5) % 10
        total -= torch.tensor(similar[positive] / sum(similar[k] for k in range(10) if k != i)).log().item()
    outcome = OBJECTIVE.score(vectors, {})
    assert outcome.loss.item() == pytest.approx(total / 10, rel=1e-5)


@pytest.mark.parametrize("at_once", [1, 24, 60, 100])
@pytest.mark.parametrize("first", [0, 4])
def test_pieces_of_bounded_memory_have_the_value_and_gradient_of_the_whole(at_once: int, first: int) -> None:
    """Compared with the plain form, which holds all similarities at once; this process has 8 of the 12 rows."""
    random = torch.Generator().manual_seed(0)
    start = torch.nn.functional.normalize(torch.randn(12, 6, generator=random, dtype=torch.float64), dim=1)
    found = []
    for pieces in (False, True):
        everyone = start.clone().requires_grad_()
        vectors = everyone[first : first + 8]
        if pieces:
            loss, share = nt_xent(vectors, everyone, first, 0.2, at_once)
        else:
            logits = vectors @ everyone.T / 0.2
            own = torch.arange(8)
            logits[own, first + own] = -torch.inf
            other = first + (own + 4) % 8
            loss = torch.nn.functional.cross_entropy(logits, other)
            share = (logits.argmax(1) == other).float().mean()
        loss.backward()
        found.append((loss.detach(), share, everyone.grad))
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one.double(), two.double(), rtol=1e-12, atol=1e-12)


def test_similarities_are_not_kept_for_the_backward_pass() -> None:
    """64 rows against 4,096, 8 at a time: much less is saved than all similarities."""
    vectors = torch.nn.functional.normalize(torch.randn(4096, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    kept = 0

    def count(one: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += one.numel()
        return one

    everyone = vectors.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(count, lambda one: one):
        nt_xent(everyone[:64], everyone, 0, 0.2, at_once=8 * 4096)[0].backward()
    # The inputs of the pieces, once each; all similarities would be 262,144 values per copy.
    assert kept < 64 * 4096 / 4 + 8 * 4096 * 8


def test_the_other_view_is_found_where_it_is_the_nearest() -> None:
    vectors = torch.eye(8)
    assert OBJECTIVE.score(torch.cat([vectors, vectors]), {}).metrics["accuracy/other_view"] == 1
    assert OBJECTIVE.score(torch.cat([vectors, vectors.roll(1, 0)]), {}).metrics["accuracy/other_view"] == 0


def test_the_two_views_of_a_window_are_drawn_independently() -> None:
    first, second = OBJECTIVE.prepare(WINDOWS, KEYS).inputs.view(2, 16, 3, 150)
    x = counts.to_g(WINDOWS)
    assert not torch.equal(first, second)
    sure = SimCLR(SimCLRConfig(transforms=("rotation",), probability=1.0), OBJECTIVE.model)
    first, second = sure.prepare(WINDOWS, KEYS).inputs.view(2, 16, 3, 150)
    for view in (first, second):
        torch.testing.assert_close(view.norm(dim=1), x.norm(dim=1))
    assert ((first - second).flatten(1).abs().amax(dim=1) > 0).all()


def test_each_transform_is_applied_as_often_as_asked() -> None:
    keys = window_keys(0, 0, torch.arange(2000))
    windows = WINDOWS[:1].expand(2000, -1, -1)
    for name in ("reversal", "scaling", "noise"):
        objective = SimCLR(SimCLRConfig(transforms=(name,), probability=0.3), OBJECTIVE.model)
        changed = (objective.prepare(windows, keys).inputs != counts.to_g(WINDOWS[:1])).flatten(1).any(dim=1)
        assert changed.float().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 4000) ** 0.5)


def network() -> nn.Module:
    """Without batch normalisation, so that parts of a batch can be compared with the whole."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(450, 12), nn.Tanh(), nn.Linear(12, 8))


def gradients(model: nn.Module) -> list[torch.Tensor]:
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


WORLDS = (4, 2, 1)


class Allocations(TorchDispatchMode):
    """The number of elements of the largest tensor that is made."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and not any(made is one for one in args):
            self.largest = max(self.largest, made.numel())
        return made


def backward_of_gathering(world: int) -> dict[str, object]:
    """Gradient that comes back to a rank's 5 rows, what it was made from, and the largest tensor made for it."""
    gradient = torch.ones(5 * world, 3)
    with Allocations() as made:
        own = _Gather.backward(SimpleNamespace(rows=5), gradient)
    return {"own": own, "gradient": gradient, "largest": made.largest}


def step_of_one(rank: int, world: int) -> dict[str, object]:
    """Means over processes, and gradients, for one process's part of the batch."""
    wrapped = DistributedDataParallel(network())
    # Windows are distributed as lanes are, not as one contiguous piece.
    prepared = OBJECTIVE.prepare(WINDOWS[rank::world], KEYS[rank::world])
    outcome = OBJECTIVE.score(wrapped(prepared.inputs), prepared.targets)
    outcome.loss.backward()
    means = torch.stack([outcome.metrics["loss"], outcome.metrics["accuracy/other_view"]]) / world
    dist.all_reduce(means)
    return {"means": means, "gradients": [one.clone() for one in gradients(wrapped)]}


def one_of_many(rank: int, out: Path) -> None:
    """A process that takes part in every world size above its rank."""
    torch.set_num_threads(1)
    for world in WORLDS:
        if rank >= world:
            break
        # Rendezvous through a file: a port could be taken, and its server ends with the first process to finish.
        dist.init_process_group("gloo", init_method=f"file://{out}/meet-{world}", rank=rank, world_size=world)
        # In its own function: a DDP-wrapped network that outlives its process group can hang when it is freed.
        found = step_of_one(rank, world) | backward_of_gathering(world)
        if rank == 0:
            torch.save(found, out / f"{world}.pt")
        dist.destroy_process_group()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one, two and four gloo processes for one batch."""
    out = tmp_path_factory.mktemp("worlds")
    # Four processes that each import torch would take longer than the rest together: one imports it and is forked.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pretrain.objectives.simclr", "torch.nn.parallel"])
    processes = [context.Process(target=one_of_many, args=(rank, out)) for rank in range(max(WORLDS))]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        if process.is_alive():
            process.kill()
    assert [process.exitcode for process in processes] == [0] * len(processes)
    return out


@pytest.mark.parametrize("world", WORLDS)
def test_gradients_are_exchanged_without_a_copy_of_all_of_them(world: int, found: Path) -> None:
    """64 ranks with 4,096 windows each would hold 268 MB per copy."""
    theirs = torch.load(found / f"{world}.pt", weights_only=True)
    assert theirs["largest"] == 5 * 3
    assert torch.equal(theirs["own"], torch.full((5, 3), float(world)))
    assert torch.equal(theirs["gradient"], torch.ones(5 * world, 3))


@pytest.mark.parametrize("world", WORLDS)
def test_loss_and_gradients_do_not_depend_on_the_number_of_processes(world: int, found: Path) -> None:
    model = network()
    prepared = OBJECTIVE.prepare(WINDOWS, KEYS)
    outcome = OBJECTIVE.score(model(prepared.inputs), prepared.targets)
    outcome.loss.backward()
    theirs = torch.load(found / f"{world}.pt", weights_only=True)
    expected = torch.stack([outcome.metrics["loss"], outcome.metrics["accuracy/other_view"]])
    torch.testing.assert_close(theirs["means"], expected, rtol=0, atol=1e-6)
    for one, other in zip(theirs["gradients"], gradients(model), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
