"""Protocol of an objective: draw → transform → (the network runs) → loss → metrics.

An objective defines the network to train and everything that is drawn for a window, so that adding one never changes
the loop. It never calls the network itself: the loop does, once per micro-batch, under autocast and the DDP wrapper.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from pretrain.model import ModelConfig

Forward = Callable[[Tensor], Any]
"""The network as the loop calls it: under autocast, and wrapped by DDP if there are several ranks. It returns a tensor
or a tuple of tensors, which only `score` of the same objective interprets."""


@dataclass(frozen=True)
class PreparedBatch:
    """A transformed batch with its targets."""

    inputs: Tensor
    """(M, 3, T) float32 in g, input of the network; M is a fixed multiple of the number of windows."""
    targets: dict[str, Tensor] = field(default_factory=dict)
    """Targets that the loss compares the network's output with."""


@dataclass(frozen=True)
class ObjectiveOutput:
    """Loss and metrics of a batch."""

    loss: Tensor
    """Scalar to minimise: mean over the local windows, so that the mean over ranks is that of the global batch."""
    metrics: dict[str, Tensor]
    """Detached scalars, means over the local windows, such as "loss" and "accuracy/reversal"."""


class Objective(Protocol):
    """Stateless: the same arguments give the same result on every rank."""

    seconds: int
    """Length of the windows passed to `prepare`, 5, 10 or 30; the network's input may be cut from longer windows."""

    def build(self) -> nn.Module:
        """The newly initialised network, on the CPU, with its encoder under the name `feature_extractor`."""

    def prepare(self, counts: Tensor, keys: Tensor) -> PreparedBatch:
        """Draw and transform, in float32, on the device of `counts`, without synchronising with it.

        Args:
            counts: (N, 3, T) int16 windows as stored, 1/4096 g; MISSING (all three axes) where nothing was recorded.
            keys: (N,) int64 of `pretrain.transforms.window_random`; every random draw is derived from them.
        """

    def score(self, outputs: Any, targets: dict[str, Tensor]) -> ObjectiveOutput:
        """Loss and metrics, in float32, of the network's output for `PreparedBatch.inputs`.

        Every rank must call it: an objective may exchange outputs between ranks.
        """


class ObjectiveConfig(Protocol):
    """Options of an objective: a frozen dataclass, which is also a section of the configuration file."""

    def objective(self, model: ModelConfig) -> Objective:
        """The objective with these options, for this encoder."""
