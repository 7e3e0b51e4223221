"""Training with early stopping on people who are not tested: the one loop of fine-tuning and of the evaluation."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.optimisation import decay_groups, warmup_cosine

PREDICTION_BATCH = 256


@dataclass(frozen=True)
class LabelledInputs:
    """Inputs with their classes."""

    inputs: Tensor
    """(N, ...) windows or features."""
    targets: Tensor
    """(N,) class indices."""


@dataclass(frozen=True)
class Schedule:
    """What the loop does with a part whose size is known."""

    batch_size: int
    """Windows in a step."""
    steps: int
    """Most steps."""
    warmup: int | None
    """Steps over which learning rates rise before they fall to zero on a cosine; None keeps them constant."""
    weight_decay: float
    """Decoupled; of weights, not of biases and batch normalisation."""
    max_gradient_norm: float
    """Longer gradients are shortened to this."""
    between_looks: int
    """Steps from one look at the validation people to the next; there is one after the last step, too."""
    patience: int
    """Looks in a row without progress before training stops."""
    least_steps: int
    """Never stop before this step. Looks before it do not count as looks without progress, and the best one may still
    be among them."""

    def rate(self, step: int) -> float:
        """Share of the highest learning rates at `step`, from 0."""
        return 1.0 if self.warmup is None else warmup_cosine(step, self.steps, self.warmup)

    def looks_after(self, step: int) -> bool:
        """Whether the validation people are looked at after `step`, from 1."""
        return step % self.between_looks == 0 or step == self.steps


@dataclass(frozen=True)
class Fitted:
    """What happened in a training."""

    steps: int
    """Steps taken."""
    kept: int
    """Step whose parameters were kept: the best by the validation people, or the last without them."""
    steps_per_epoch: int
    """Steps of a pass over the training windows."""


def train_with_early_stopping(
    network: nn.Module,
    rates: Sequence[tuple[nn.Module, float]],
    learnt: LabelledInputs,
    validation: LabelledInputs | None,
    weights: Tensor,
    schedule: Schedule,
    seed: int,
    device: str,
    on_step: Callable[[], object] = lambda: None,
) -> Fitted:
    """Train the modules in `rates` at these highest learning rates, in place; leaves `network` in evaluation mode.

    What else `network` has stays as it is, batch statistics too. With validation people, the best parameters by their
    loss are put back. `weights` (classes,) weighs windows by their class in both losses. `seed` fixes the order of
    windows. `network` is on `device`, all else on the CPU.
    """
    _let_learn(network, rates)
    # With no decay AdamW is Adam.
    optimiser = torch.optim.AdamW([g for part, rate in rates for g in decay_groups(part, rate, schedule.weight_decay)])
    pace = torch.optim.lr_scheduler.LambdaLR(optimiser, schedule.rate)
    best = None if validation is None else _Best(network, validation, weights, schedule, device)
    weights = weights.to(device)
    order = _order(len(learnt.targets), schedule.batch_size, seed)
    for step in range(1, schedule.steps + 1):
        batch = next(order)
        x, y = learnt.inputs[batch].to(device), learnt.targets[batch].to(device)
        _step(network, x, y, weights, optimiser, schedule.max_gradient_norm)
        pace.step()
        on_step()
        if best is not None and schedule.looks_after(step):
            if best.enough(step):
                break
            _let_learn(network, rates)
    network.eval().requires_grad_()
    kept = step if best is None else best.restore(step)
    return Fitted(step, kept, math.ceil(len(learnt.targets) / schedule.batch_size))


class _Best:
    """Keeps the best parameters of a network by its loss on people who were set aside."""

    def __init__(
        self, network: nn.Module, validation: LabelledInputs, weights: Tensor, schedule: Schedule, device: str
    ) -> None:
        self._network, self._validation, self._weights = network, validation, weights
        self._schedule, self._device = schedule, device
        self._loss, self._step, self._misses, self._state = math.inf, 0, 0, dict[str, Tensor]()

    def enough(self, step: int) -> bool:
        """Look at the network, which is left in evaluation mode; whether to train no more."""
        self._network.eval()
        logits = in_batches(self._network, self._validation.inputs, self._device)
        loss = F.cross_entropy(logits, self._validation.targets, weight=self._weights).item()
        if loss < self._loss:
            self._loss, self._step, self._misses = loss, step, 0
            self._state = {name: tensor.clone() for name, tensor in self._network.state_dict().items()}
        elif step >= self._schedule.least_steps:
            self._misses += 1
        return self._misses >= self._schedule.patience

    def restore(self, last: int) -> int:
        """Put the best parameters back, or leave the last where no look gave a number; returns their step."""
        if not self._state:
            return last
        self._network.load_state_dict(self._state)
        return self._step


def _let_learn(network: nn.Module, rates: Sequence[tuple[nn.Module, float]]) -> None:
    network.eval().requires_grad_(False)
    for module, _ in rates:
        module.train().requires_grad_()


def _step(
    network: nn.Module, x: Tensor, y: Tensor, weights: Tensor, optimiser: torch.optim.Optimizer, max_norm: float
) -> None:
    loss = F.cross_entropy(network(x), y, weight=weights)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), max_norm)
    optimiser.step()


def _order(windows: int, batch: int, seed: int) -> Iterator[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(windows, generator=generator).split(batch)


def in_batches(function: Callable[[Tensor], Tensor], inputs: Tensor, device: str) -> Tensor:
    """`function` of `inputs` (N, ...) in batches without gradients, on the CPU."""
    with torch.no_grad():
        return torch.cat([function(batch.to(device)).cpu() for batch in inputs.split(PREDICTION_BATCH)])


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """(classes,) inverse frequency of each class in `targets` (N,): the mean weight of a window is 1.

    What no training person did cannot be learnt and weighs nothing: else a validation person who did it would decide
    alone when to stop.
    """
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (counts.clamp(min=1) * (counts > 0).sum()) * (counts > 0)
