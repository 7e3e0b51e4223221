"""What the encoder is trained to do; one file each, behind one small protocol.

An objective owns the network that is trained, so that adding one never touches the loop.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

Forward = Callable[[Tensor], Tensor]
"""The network as an objective calls it: under autocast, and wrapped for distributed training where that is due."""


@dataclass(frozen=True)
class Outcome:
    """What a batch gave."""

    loss: Tensor
    """Scalar to minimise: mean over the batch."""
    metrics: dict[str, Tensor]
    """Detached scalars, means over the batch, such as "loss/reversal" and "accuracy/reversal"."""


class Objective(Protocol):
    """Draw → transform → loss → metrics."""

    def build(self) -> nn.Module:
        """The network, its encoder under the name `feature_extractor`, newly initialised on the CPU."""

    def __call__(self, network: Forward, windows: Tensor, keys: Tensor) -> Outcome:
        """Loss of a batch. Transforms and losses are computed in float32; only the network runs under autocast.

        Args:
            network: what `build` returned, as the loop has wrapped it.
            windows: (N, 3, T) float32, g, on the training device.
            keys: (N,) int64 of `pretrain.transforms.draws`; every random draw comes from them.
        """
