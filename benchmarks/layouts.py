"""Other implementations of the same encoder, for timing: memory format, circular padding, down-sampling.

Each is applied to an existing network by replacing the classes of its modules: parameters and results stay the same.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.encoder import KERNEL_SIZE, CircularConv1d, Downsample, Encoder

AROUND = KERNEL_SIZE // 2


class PaddedConv1d(CircularConv1d):
    """Uses torch's own circular padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Length is kept."""
        return F.conv2d(F.pad(x, (AROUND, AROUND, 0, 0), mode="circular"), self.weight.unsqueeze(2))


class MendedConv1d(CircularConv1d):
    """Zero padding inside the convolution; the few wrong outputs at the ends are recomputed.

    The whole signal need not be copied to be padded.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Length is kept."""
        if x.shape[-1] <= 2 * AROUND:
            return super().forward(x)
        weight = self.weight.unsqueeze(2)
        output = F.conv2d(x, weight, padding=(0, AROUND))
        seam = F.conv2d(torch.cat([x[..., -2 * AROUND :], x[..., : 2 * AROUND]], dim=-1), weight)
        return torch.cat([seam[..., AROUND:], output[..., AROUND:-AROUND], seam[..., :AROUND]], dim=-1)


class StridedMeans(Downsample):
    """The low-pass as a weighted sum of strided slices, which a compiler can fuse with the preceding operations."""

    def forward(self, x: Tensor) -> Tensor:
        """`x` is padded with zeros."""
        kernel = self.kernel[0, 0]
        padded = F.pad(x, (self.padding, self.padding))
        length = (padded.shape[-1] - len(kernel)) // self.factor + 1
        last = self.factor * (length - 1) + 1
        taps = [kernel[tap].to(x.dtype) * padded[..., tap : tap + last : self.factor] for tap in range(len(kernel))]
        return torch.stack(taps).sum(dim=0)


class ChannelsFirst(Encoder):
    """Memory format of a one-dimensional convolution, as it was before channels last."""

    def _as_rows(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2).contiguous()


class ChannelsLast(Encoder):
    """Channels last even where it is not the default: in training on the CPU."""

    def _as_rows(self, x: Tensor) -> Tensor:
        return x.unsqueeze(2).contiguous(memory_format=torch.channels_last)


def _exchange(old: type[nn.Module], new: type[nn.Module]) -> Callable[[nn.Module], None]:
    def change(network: nn.Module) -> None:
        for module in network.modules():
            if type(module) is old:
                module.__class__ = new

    return change


SHIPPED, CHANNELS_FIRST = "as shipped", "channels first"

LAYOUTS: dict[str, Callable[[nn.Module], None]] = {
    SHIPPED: lambda network: None,
    CHANNELS_FIRST: _exchange(Encoder, ChannelsFirst),
    "channels last": _exchange(Encoder, ChannelsLast),
    "down-sampling by strided means": _exchange(Downsample, StridedMeans),
    "F.pad circular": _exchange(CircularConv1d, PaddedConv1d),
    "zero padding, ends mended": _exchange(CircularConv1d, MendedConv1d),
}
"""Name -> function that changes a network in place."""
