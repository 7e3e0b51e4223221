"""Context: contrastive learning of crops recorded seconds apart (after Franceschi et al., NeurIPS 2019).

SimCLR with other positive pairs: the two views are crops of one stretch of a recording, some seconds apart. So they
share the activity, but not the samples. The negatives decide what must be learnt: if they include windows of the same
recording, posture and device alone are not enough to tell them apart. Two options of the stream ensure that:
`data.windows_per_visit` windows come from one person-hour, and with a shuffle buffer (`data.shuffle_windows`) of about
that size, each lane gives every batch windows of an hour or two.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from data_shards.layout import RATE
from data_shards.shards.manifest import WINDOW_SECONDS
from harnet.errors import HarnetError
from pretrain.model import ModelConfig
from pretrain.objectives.simclr import SimCLR, SimCLRConfig
from pretrain.objectives.views import View
from pretrain.transforms import counts, window_random
from pretrain.validation import at_least


@dataclass(frozen=True)
class ContextConfig(SimCLRConfig):
    """How far apart the two crops may be, how they are changed, and how they are compared."""

    section: ClassVar[str] = "context"

    transforms: tuple[View, ...] = ("tilt", "gain", "time_warp", "noise")
    """Transforms of the crops, applied in this order."""
    seconds: float = 20.0
    """Maximum time between the starts of the two crops. Windows are read from stretches of 10 or 30 s, the shortest
    that holds both crops."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1 / RATE, self.section, {"seconds": self.seconds})

    def stretch(self, window: int) -> int:
        """Seconds that two crops of `window` s are cut from; HarnetError if shards have no windows that long."""
        for seconds in WINDOW_SECONDS:
            if seconds >= window + self.seconds:
                return seconds
        raise HarnetError(
            f"context.seconds is {self.seconds:g}: two windows of {window} s so far apart need more than the "
            f"{WINDOW_SECONDS[-1]} s that shards can give; at most {WINDOW_SECONDS[-1] - window} with this model"
            if window < WINDOW_SECONDS[-1]
            else f"the context objective needs stretches longer than the {window} s of this model, and shards give "
            f"{WINDOW_SECONDS[-1]} s at most: train harnet5 or harnet10, or choose another objective"
        )

    def objective(self, model: ModelConfig) -> "Context":
        """The objective with these options."""
        return Context(self, model)


class Context(SimCLR):
    """Two crops of every stretch go through the network; each must identify the other among all crops of the batch."""

    def __init__(self, config: ContextConfig, model: ModelConfig) -> None:
        super().__init__(config, model)
        self.seconds = config.stretch(model.seconds)
        self._apart = round(config.seconds * RATE)

    def pairs(self, windows: Tensor, keys: Tensor) -> Tensor:
        """(2N, 3, T) in g: the earlier and the later crop of each stretch (N, 3, S)."""
        earlier, later = self.draw_crops(keys, windows.shape[-1])
        length = self.model.seconds * RATE
        starts = torch.cat([earlier, later])
        places = starts[:, None, None] + torch.arange(length, device=windows.device)
        return counts.to_g(windows.repeat(2, 1, 1).gather(2, places.expand(-1, windows.shape[1], -1)))

    def draw_crops(self, keys: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """(N,) first samples of the earlier and of the later crop in a stretch of `length` samples.

        Their distance is uniform from 0 to `seconds`, and the position of the pair in the stretch is uniform.
        """
        room = length - self.model.seconds * RATE
        u = window_random.uniform(keys, "crops", 2)
        distance = (u[:, 0] * (min(self._apart, room) + 1)).long()
        earlier = (u[:, 1] * (room - distance + 1)).long()
        return earlier, earlier + distance
