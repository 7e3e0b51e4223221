"""Optimisers."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from harnet.errors import HarnetError
from harnet.optimisation import decay_groups
from pretrain.validation import at_least


@dataclass(frozen=True)
class OptimizerConfig:
    """Optimiser and schedule. As published: adam, amsgrad, 1e-4, decay 0, clip_norm inf, schedule published."""

    name: Literal["adamw", "adam"] = "adamw"
    """AdamW decouples weight decay from the gradient (Loshchilov and Hutter 2019); Adam adds the decay to it."""
    learning_rate: float = 1e-3
    """Peak learning rate with the schedules cosine and constant; initial one with the schedule published."""
    schedule: Literal["cosine", "constant", "published"] = "cosine"
    """Warm-up, then half a cosine to zero; warm-up, then constant; or scaled to batch / 512 over five epochs."""
    reference_batch: int | None = None
    """Batch size that learning_rate is meant for; for other batch sizes it is scaled by the square root of the ratio.
    None: no scaling."""
    warmup_steps: int = 100
    """Steps of linear warm-up; the schedule published has none."""
    weight_decay: float = 0.01
    """Weight decay of convolutions and linear layers; normalisation layers and biases have none."""
    beta1: float = 0.9
    """Decay rate of the first moment."""
    beta2: float = 0.999
    """Decay rate of the second moment."""
    epsilon: float = 1e-8
    """Added to the root of the second moment."""
    amsgrad: bool = False
    """Divide by the largest second moment so far (Reddi et al. 2018), as published."""
    clip_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it; inf disables clipping."""
    fused: bool = True
    """Use the fused implementation, on CUDA and on the CPU."""
    ema_decay: float = 0.0
    """Decay of a moving average of the weights, which is saved and evaluated as well; 0 disables it."""

    def __post_init__(self) -> None:
        positive = {name: getattr(self, name) for name in ("learning_rate", "clip_norm", "epsilon")}
        at_least(1e-12, "optimizer", positive)
        at_least(0, "optimizer", {"warmup_steps": self.warmup_steps, "weight_decay": self.weight_decay})
        if self.reference_batch is not None:
            at_least(1, "optimizer", {"reference_batch": self.reference_batch})
            if self.schedule == "published":
                raise HarnetError(
                    "optimizer.reference_batch cannot be used with the schedule published, which has its own scaling "
                    "with the batch: leave it out, or choose another schedule"
                )
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise HarnetError(f"optimizer.{name} is {getattr(self, name)}; it must be at least 0 and below 1")


OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
"""By name; all accept the options of Adam (Kingma and Ba 2015)."""


def create_optimizer(network: nn.Module, recipe: OptimizerConfig) -> torch.optim.Optimizer:
    """The configured optimiser for the parameters of `network`; the loop sets the learning rate at every step."""
    return OPTIMIZERS[recipe.name](
        decay_groups(network, recipe.learning_rate, recipe.weight_decay),
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        amsgrad=recipe.amsgrad,
        fused=recipe.fused,
    )
