"""The training loop of fine-tuning and evaluation, with early stopping on held-out people."""

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
    """Inputs and their target classes."""

    inputs: Tensor
    """(N, ...) windows or features."""
    targets: Tensor
    """(N,) class indices."""


@dataclass(frozen=True)
class Schedule:
    """Training schedule for a training set of known size."""

    batch_size: int
    """Windows per step."""
    steps: int
    """Maximum number of steps."""
    warmup: int | None
    """Steps of learning-rate warm-up, before cosine decay to zero; None keeps the learning rates constant."""
    weight_decay: float
    """Decoupled weight decay of weights, not of biases and batch normalisation."""
    max_gradient_norm: float
    """Gradients are clipped to this norm."""
    between_looks: int
    """Steps between evaluations on the validation people; the last step is always followed by one."""
    patience: int
    """Evaluations in a row without improvement before training stops."""
    least_steps: int
    """Never stop before this step. Evaluations before it do not count towards `patience`, but one of them may still be
    the best."""

    def rate(self, step: int) -> float:
        """Learning rate at `step` (from 0) as a fraction of the peak."""
        return 1.0 if self.warmup is None else warmup_cosine(step, self.steps, self.warmup)

    def looks_after(self, step: int) -> bool:
        """Whether to evaluate on the validation people after `step`, counted from 1."""
        return step % self.between_looks == 0 or step == self.steps


@dataclass(frozen=True)
class Fitted:
    """Outcome of a training run."""

    steps: int
    """Steps taken."""
    kept: int
    """Step whose parameters were kept: the one with the lowest validation loss, or the last without validation."""
    steps_per_epoch: int
    """Steps per epoch."""


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
    """Train the modules in `rates` in place, at these peak learning rates; leaves `network` in evaluation mode.

    The rest of `network` is frozen, including batch statistics. With `validation`, the parameters with the lowest
    validation loss are restored at the end. `weights` (classes,) are the class weights of both losses. `seed` fixes
    the order of windows. `network` is on `device`, everything else on the CPU. `on_step` is called after each step.
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
    """Keeps the parameters with the lowest loss on the validation people."""

    def __init__(
        self, network: nn.Module, validation: LabelledInputs, weights: Tensor, schedule: Schedule, device: str
    ) -> None:
        self._network, self._validation, self._weights = network, validation, weights
        self._schedule, self._device = schedule, device
        self._loss, self._step, self._misses, self._state = math.inf, 0, 0, dict[str, Tensor]()

    def enough(self, step: int) -> bool:
        """Evaluate the network, which is left in evaluation mode; returns whether to stop training."""
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
        """Restore the best parameters, or keep the last if no validation loss was finite; returns their step."""
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
    """Apply `function` to `inputs` (N, ...) batch by batch on `device`, without gradients; returns a CPU tensor."""
    with torch.no_grad():
        return torch.cat([function(batch.to(device)).cpu() for batch in inputs.split(PREDICTION_BATCH)])


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """Inverse frequency (classes,) of each class in `targets` (N,), scaled so that the mean weight of a window is 1.

    A class without training windows cannot be learnt and gets weight 0; otherwise a validation person with that class
    would dominate the decision when to stop.
    """
    counts = torch.bincount(targets, minlength=classes)
    return len(targets) / (counts.clamp(min=1) * (counts > 0).sum()) * (counts > 0)
