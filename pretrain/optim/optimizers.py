"""The optimisers that a configuration can name."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from harnet.errors import HarnetError
from harnet.optimisation import decay_groups
from pretrain.validation import at_least


@dataclass(frozen=True)
class OptimizerConfig:
    """How weights follow gradients. As published: adam, amsgrad, 1e-4, decay 0, clip_norm inf, schedule published."""

    name: Literal["adamw", "adam"] = "adamw"
    """AdamW decays weights apart from the gradient (Loshchilov and Hutter 2019); Adam adds the decay to it."""
    learning_rate: float = 1e-3
    """Peak of the schedules cosine and constant; start of the schedule published."""
    schedule: Literal["cosine", "constant", "published"] = "cosine"
    """Warm-up then half a cosine to zero; warm-up then constant; five epochs towards batch / 512 times the rate."""
    reference_batch: int | None = None
    """The batch that learning_rate is meant for: another one scales it by the root of their ratio. None: it is not
    scaled."""
    warmup_steps: int = 100
    """Steps over which the learning rate rises from zero; the schedule published has none."""
    weight_decay: float = 0.01
    """Of convolutions and linear layers; normalisation and biases have none."""
    beta1: float = 0.9
    """Decay of the mean of gradients."""
    beta2: float = 0.999
    """Decay of the mean of their squares."""
    epsilon: float = 1e-8
    """Added to the root of that mean."""
    amsgrad: bool = False
    """Divide by the largest mean of squares so far (Reddi et al. 2018), as published."""
    clip_norm: float = 1.0
    """Gradients with a larger norm are scaled down to it; inf never."""
    fused: bool = True
    """One kernel for the whole update, on CUDA and on the CPU."""
    ema_decay: float = 0.0
    """Keep a moving average of the weights with this decay, and its held-out loss; 0 keeps none."""

    def __post_init__(self) -> None:
        positive = {name: getattr(self, name) for name in ("learning_rate", "clip_norm", "epsilon")}
        at_least(1e-12, "optimizer", positive)
        at_least(0, "optimizer", {"warmup_steps": self.warmup_steps, "weight_decay": self.weight_decay})
        if self.reference_batch is not None:
            at_least(1, "optimizer", {"reference_batch": self.reference_batch})
            if self.schedule == "published":
                raise HarnetError(
                    "optimizer.reference_batch does not go with the schedule published, which has its own rule for the "
                    "batch: leave it out, or take another schedule"
                )
        for name in ("beta1", "beta2", "ema_decay"):
            if not 0 <= getattr(self, name) < 1:
                raise HarnetError(f"optimizer.{name} is {getattr(self, name)}; it must be at least 0 and below 1")


OPTIMIZERS: dict[str, type[torch.optim.Adam]] = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}
"""By name; all of them take the options of Adam (Kingma and Ba 2015)."""


def create_optimizer(network: nn.Module, recipe: OptimizerConfig) -> torch.optim.Optimizer:
    """The configured optimiser over the parameters of `network`; the loop sets the learning rate at every step."""
    return OPTIMIZERS[recipe.name](
        decay_groups(network, recipe.learning_rate, recipe.weight_decay),
        lr=recipe.learning_rate,
        betas=(recipe.beta1, recipe.beta2),
        eps=recipe.epsilon,
        amsgrad=recipe.amsgrad,
        fused=recipe.fused,
    )
