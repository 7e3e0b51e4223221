"""Learning-rate schedules: pure functions of the step, so nothing has to be saved to resume."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from harnet.optimisation import warmup_cosine
from pretrain.optim.optimizers import OptimizerConfig

PUBLISHED_BATCH = 512
"""Batch size for which the published learning rate was chosen (Yuan et al. 2024)."""
PUBLISHED_EPOCHS = 5
"""Epochs over which the learning rate is scaled to a larger batch."""


@dataclass(frozen=True)
class Horizon:
    """The lengths and sizes that schedules depend on."""

    steps: int
    """Length of the run in steps."""
    steps_per_epoch: int
    """Length of an epoch in steps."""
    warmup: int
    """Steps of warm-up."""
    batch: int
    """Global batch size."""


def cosine(step: int, horizon: Horizon) -> float:
    """Linear warm-up, then half a cosine to zero at the last step."""
    return warmup_cosine(step, horizon.steps, horizon.warmup)


def constant(step: int, horizon: Horizon) -> float:
    """Linear warm-up, then 1."""
    return min(1.0, (step + 1) / horizon.warmup) if horizon.warmup else 1.0


def published(step: int, horizon: Horizon) -> float:
    """1 at first; multiplied by (batch / 512)^(1/5) after each of the first five epochs; then constant.

    The linear scaling rule with gradual warm-up (Goyal et al. 2017, section 2.2), as Yuan et al. 2024 describe it.
    """
    epoch = step // horizon.steps_per_epoch
    return (horizon.batch / PUBLISHED_BATCH) ** (min(epoch, PUBLISHED_EPOCHS) / PUBLISHED_EPOCHS)


SCHEDULES: dict[str, Callable[[int, Horizon], float]] = {
    "cosine": cosine,
    "constant": constant,
    "published": published,
}
"""By name: (step from 0, horizon) -> factor of the configured learning rate."""


def learning_rate(step: int, recipe: OptimizerConfig, horizon: Horizon) -> float:
    """Learning rate of the update after `step` steps."""
    return peak_rate(recipe, horizon.batch) * SCHEDULES[recipe.schedule](step, horizon)


def peak_rate(recipe: OptimizerConfig, batch: int) -> float:
    """The learning rate before the schedule's factor.

    With a reference batch, it scales with the square root of the batch size: with Adam, the noise of an update then
    stays the same (Malladi et al. 2022, "On the SDEs and scaling rules for adaptive gradient algorithms").
    """
    if recipe.reference_batch is None:
        return recipe.learning_rate
    return recipe.learning_rate * math.sqrt(batch / recipe.reference_batch)


def describe(recipe: OptimizerConfig, horizon: Horizon) -> str:
    """The schedule in one line, with its scaling with the batch size."""
    if recipe.schedule == "published":
        scale = horizon.batch / PUBLISHED_BATCH
        return (
            f"learning rate {recipe.learning_rate:g}, over {PUBLISHED_EPOCHS} epochs of {horizon.steps_per_epoch} "
            f"steps scaled by batch / {PUBLISHED_BATCH} = {scale:g} to {recipe.learning_rate * scale:g}"
        )
    end = "half a cosine to zero" if recipe.schedule == "cosine" else "constant"
    scaled = (
        f"not scaled with the batch of {horizon.batch}"
        if recipe.reference_batch is None
        else f"{recipe.learning_rate:g} x sqrt({horizon.batch} / {recipe.reference_batch})"
    )
    rate = peak_rate(recipe, horizon.batch)
    return f"learning rate {rate:g} after {horizon.warmup} steps of warm-up, then {end}; {scaled}"
