"""Other ways to compute the same encoder, to be timed: how the window's ends are joined, and the order in memory.

Each is put on a network that exists, by exchanging the classes of its modules: parameters and numbers stay.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.encoder import KERNEL_SIZE, CircularConv1d, Downsample, Encoder

AROUND = KERNEL_SIZE // 2


class PaddedConv1d(CircularConv1d):
    """By torch's own circular padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Length is kept."""
        return F.conv1d(F.pad(x, (AROUND, AROUND), mode="circular"), self.weight)


class MendedConv1d(CircularConv1d):
    """Padded with zeros inside the convolution; the few outputs at the ends, which that gets wrong, are done again.

    The whole signal need not be copied to be padded.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Length is kept."""
        if x.shape[-1] <= 2 * AROUND:
            return super().forward(x)
        output = F.conv1d(x, self.weight, padding=AROUND)
        seam = F.conv1d(torch.cat([x[..., -2 * AROUND :], x[..., : 2 * AROUND]], dim=-1), self.weight)
        return torch.cat([seam[..., AROUND:], output[..., AROUND:-AROUND], seam[..., :AROUND]], dim=-1)


class InPlaceMendedConv1d(CircularConv1d):
    """The same, writing the ends into the output."""

    def forward(self, x: Tensor) -> Tensor:
        """Length is kept."""
        if x.shape[-1] <= 2 * AROUND:
            return super().forward(x)
        output = F.conv1d(x, self.weight, padding=AROUND)
        seam = F.conv1d(torch.cat([x[..., -2 * AROUND :], x[..., : 2 * AROUND]], dim=-1), self.weight)
        output[..., :AROUND] = seam[..., AROUND:]
        output[..., -AROUND:] = seam[..., :AROUND]
        return output


class FlatConv2d(CircularConv1d):
    """A convolution over (N, C, 1, L), for kernels that want channels last in memory."""

    def forward(self, x: Tensor) -> Tensor:
        """Length is kept."""
        joined = torch.cat([x[..., -AROUND:], x, x[..., :AROUND]], dim=-1)
        return F.conv2d(joined, self.weight.unsqueeze(2))


class FlatBatchNorm(nn.BatchNorm1d):
    """Takes (N, C, 1, L)."""

    def _check_input_dim(self, input: Tensor) -> None:
        assert input.dim() == 4


class FlatDownsample(Downsample):
    """Takes (N, C, 1, L)."""

    def forward(self, x: Tensor) -> Tensor:
        """One convolution per channel."""
        kernel = self.kernel.unsqueeze(2)
        return F.conv2d(x, kernel, stride=(1, self.factor), padding=(0, self.padding), groups=self.channels)


def _convolutions(kind: type[CircularConv1d]) -> Callable[[nn.Module], None]:
    def change(network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, CircularConv1d):
                module.__class__ = kind

    return change


def _channels_last(network: nn.Module) -> None:
    kinds: dict[type, type] = {CircularConv1d: FlatConv2d, nn.BatchNorm1d: FlatBatchNorm, Downsample: FlatDownsample}
    for module in network.modules():
        module.__class__ = kinds.get(type(module), type(module))
        if isinstance(module, Encoder):
            first, last = module.get_submodule("layer1"), list(module.children())[-1]
            first.register_forward_pre_hook(
                lambda _, inputs: inputs[0].unsqueeze(2).contiguous(memory_format=torch.channels_last)
            )
            last.register_forward_hook(lambda _, __, output: output.squeeze(2))


LAYOUTS: dict[str, Callable[[nn.Module], None]] = {
    "concatenated ends (as shipped)": lambda network: None,
    "F.pad circular": _convolutions(PaddedConv1d),
    "zero padding, ends mended": _convolutions(MendedConv1d),
    "zero padding, ends mended in place": _convolutions(InPlaceMendedConv1d),
    "channels last, 2-D convolution": _channels_last,
}
"""Name -> what changes a network, in place."""
