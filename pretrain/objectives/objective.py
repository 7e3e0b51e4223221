"""What the loop asks of an objective: draw → transform → (the network runs) → loss → metrics.

An objective owns the network that is trained and everything that is drawn for a window, so that adding one never
touches the loop. It never calls the network itself: the loop does, once a step, under the precision and the wrapper
for distributed training that it has chosen.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from pretrain.model import ModelConfig

Forward = Callable[[Tensor], Any]
"""The network as the loop calls it: under autocast, and wrapped for distributed training where that is due. It returns
a tensor, or a tuple of them, which only the `score` of the same objective looks into."""


@dataclass(frozen=True)
class PreparedBatch:
    """A batch with all that was drawn for it."""

    inputs: Tensor
    """(M, 3, T) float32, g, for the network; M is a fixed multiple of the number of windows."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """What the loss compares the network's output with."""


@dataclass(frozen=True)
class ObjectiveOutput:
    """What a batch gave."""

    loss: Tensor
    """Scalar to minimise: mean over this process's windows, so that the mean over processes is that of the batch."""
    metrics: dict[str, Tensor]
    """Detached scalars, means over this process's windows, such as "loss" and "accuracy/reversal"."""


class Objective(Protocol):
    """Stateless: the same arguments give the same result, on any process."""

    seconds: int
    """Length of the windows that `prepare` is given, 5, 10 or 30: those of the network may be cut from longer ones."""

    def build(self) -> nn.Module:
        """The network, its encoder under the name `feature_extractor`, newly initialised on the CPU."""

    def prepare(self, counts: Tensor, keys: Tensor) -> PreparedBatch:
        """Draw and transform, in float32, on the device of `counts`, without waiting for it.

        Args:
            counts: (N, 3, T) int16 windows as stored, 1/4096 g; MISSING (all three axes) where nothing was recorded.
            keys: (N,) int64 of `pretrain.transforms.window_random`; every random draw comes from them.
        """

    def score(self, outputs: Any, targets: dict[str, Tensor]) -> ObjectiveOutput:
        """Loss and metrics, in float32, of the network's output for `PreparedBatch.inputs`.

        With several processes every one of them must call it: an objective may exchange outputs.
        """


class ObjectiveConfig(Protocol):
    """The options of an objective: a frozen dataclass, and the section of the configuration file of that name."""

    def objective(self, model: ModelConfig) -> Objective:
        """The objective with these options, on this encoder."""
