"""Training with early stopping on people who are not tested: one loop for all networks and both protocols."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.evaluation.protocols import Recipe
from harnet.optimisation import decay_groups, warmup_cosine
from harnet.transfer.training import class_weights, in_batches

MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True)
class Part:
    """Inputs with their classes."""

    inputs: Tensor
    """(N, ...) windows or features."""
    targets: Tensor
    """(N,) class indices."""


@dataclass(frozen=True)
class Fitted:
    """What happened in a training."""

    steps: int
    """Steps taken."""
    kept: int
    """Step whose parameters were kept: the best by the validation people, or the last without them."""
    steps_per_epoch: int
    """Steps of a pass over the training windows."""


def fit(
    network: nn.Module,
    rates: list[tuple[nn.Module, float]],
    train: Part,
    validation: Part | None,
    classes: int,
    recipe: Recipe,
    seed: int,
    device: str,
    on_step: Callable[[], object] = lambda: None,
) -> Fitted:
    """Train the modules in `rates` at their learning rates, in place; leaves `network` in evaluation mode.

    With validation people, their loss is looked at after every pass and the best parameters are put back; without, the
    most steps are `recipe.least_steps` or 6 passes, whichever is more, and the last parameters stay. `seed` fixes the
    order of windows.
    """
    every = max(recipe.steps_per_epoch(len(train.targets)), recipe.least_between_looks)
    total = planned_steps(recipe, len(train.targets), validation is not None)
    weights = _weights(train.targets, classes, recipe).to(device)
    optimiser = _optimiser(rates, recipe)
    rising = max(1, total // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: warmup_cosine(step, total, rising) if recipe.cosine else 1.0
    )
    order = _order(len(train.targets), recipe.batch_size, seed)
    best, kept, misses, saved = float("inf"), 0, 0, dict[str, Tensor]()
    step = 0
    network.train()
    while step < total:
        batch = next(order)
        _step(network, train.inputs[batch].to(device), train.targets[batch].to(device), weights, optimiser)
        schedule.step()
        step += 1
        on_step()
        if validation is None or (step % every and step < total):
            continue
        loss = _loss(network, validation, weights, device)
        # Before the least number of steps no look counts as a miss, and the best one may still be among them.
        if loss < best:
            best, kept, misses = loss, step, 0
            saved = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        elif step >= recipe.least_steps:
            misses += 1
            if misses >= recipe.patience:
                break
    if saved:
        network.load_state_dict(saved)
    network.eval()
    return Fitted(step, kept if saved else step, recipe.steps_per_epoch(len(train.targets)))


def planned_steps(recipe: Recipe, windows: int, validated: bool) -> int:
    """Most steps of a training on so many windows."""
    if validated:
        return recipe.most_steps(windows)
    return max(recipe.least_steps, 6 * recipe.steps_per_epoch(windows))


def probabilities(network: nn.Module, inputs: Tensor, device: str) -> NDArray[np.float32]:
    """(N, classes) of a network in evaluation mode."""
    return in_batches(lambda x: network(x).softmax(dim=1), inputs, torch.device(device)).numpy()


def _weights(targets: Tensor, classes: int, recipe: Recipe) -> Tensor:
    if not recipe.balance_classes:
        return torch.ones(classes)
    # What no training person did cannot be learnt: without this a validation person who did it would decide alone.
    return class_weights(targets, classes) * (torch.bincount(targets, minlength=classes) > 0)


def _optimiser(rates: list[tuple[nn.Module, float]], recipe: Recipe) -> torch.optim.Optimizer:
    groups = [group for module, rate in rates for group in decay_groups(module, rate, recipe.weight_decay)]
    # With no decay AdamW is Adam.
    return torch.optim.AdamW(groups)


def _order(windows: int, batch: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(windows, generator=generator).split(batch)


def _step(network: nn.Module, x: Tensor, y: Tensor, weights: Tensor, optimiser: torch.optim.Optimizer) -> None:
    loss = F.cross_entropy(network(x), y, weight=weights)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
    optimiser.step()


def _loss(network: nn.Module, part: Part, weights: Tensor, device: str) -> float:
    network.eval()
    logits = in_batches(network, part.inputs, torch.device(device))
    network.train()
    return float(F.cross_entropy(logits, part.targets, weight=weights.cpu()))
