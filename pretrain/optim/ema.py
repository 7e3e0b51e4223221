"""Moving average of the weights (Polyak and Juditsky 1992), which often generalises better than the last weights."""

import copy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AverageNetwork:
    """A copy of a network whose parameters and batch statistics are moving averages of the original's.

    The weight of the newest values is 1 - min(decay, (1 + t) / (10 + t)) at update t, from 0, so that the start of a
    run is soon forgotten, as documented for TensorFlow's ExponentialMovingAverage. Counters are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    def update(self, network: nn.Module, step: int) -> None:
        """Update the average after update number `step`, from 0. Does not wait for the device."""
        average = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))
        own, current = self.network.state_dict(keep_vars=True), network.state_dict(keep_vars=True)
        floating = [name for name, tensor in own.items() if tensor.is_floating_point()]
        average([own[name] for name in floating], [current[name].detach() for name in floating], 0)
        for name in own.keys() - set(floating):
            own[name].copy_(current[name])
