"""The encoder: a one-dimensional residual network from a window of acceleration in g to a feature vector.

The architecture is the one published by Yuan et al., npj Digital Medicine 7:91 (2024): five stages of pre-activation
residual blocks (He et al., ECCV 2016) with anti-aliased down-sampling (Zhang, ICML 2019). Names and shapes in the
state dict are a contract with tools that read these weights and must not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.errors import HarnetError

SAMPLING_RATE = 30
"""Samples per second of every input window."""

AXES = 3

KERNEL_SIZE = 5
"""Kernel size of every convolution, in samples; circular padding of `KERNEL_SIZE // 2` preserves the length."""

PUBLISHED_WIDTH = 64
"""Output channels of the first stage in every published architecture."""

STILLNESS_FLOOR_G = 0.01
"""Lower bound, in g, of the scale by which a window is divided when it is standardised.

The sensor noise of wrist devices is a few mg: without this floor a sleeping wrist would be amplified to look like
walking.
"""

SEVERAL_STAGES = (2, 3, 4, 5)
"""Stages whose combined features gave better linear classifiers than the last stage alone (docs/results.md)."""

Initialisation = Literal["published", "residual_zero"]


@dataclass(frozen=True)
class Stage:
    """One stage: convolution, residual blocks, batch normalisation, ReLU, down-sampling."""

    channels: int
    """Output channels."""
    blocks: int
    """Number of residual blocks."""
    factor: int
    """Down-sampling factor: one sample in `factor` is kept."""
    order: int
    """How many times the box of `factor` samples is convolved with itself to form the low-pass kernel."""


@dataclass(frozen=True)
class Architecture:
    """One published size of the encoder."""

    name: str
    """Name, such as "harnet10"."""
    seconds: int
    """Length of an input window in seconds."""
    stages: tuple[Stage, ...]
    """The five stages, first to last."""

    @property
    def length(self) -> int:
        """Samples in an input window."""
        return self.seconds * SAMPLING_RATE

    @property
    def features(self) -> int:
        """Size of the feature vector."""
        return self.stages[-1].channels

    def features_of(self, stages: Sequence[int]) -> int:
        """Size of the vector that `Encoder.features` returns for these stages, numbered from 1."""
        return sum(self.stages[number - 1].channels for number in _checked(stages, len(self.stages)))


def _architecture(name: str, seconds: int, *stages: tuple[int, int, int, int]) -> Architecture:
    return Architecture(name, seconds, tuple(Stage(*stage) for stage in stages))


ARCHITECTURES: dict[str, Architecture] = {
    row.name: row
    for row in (
        _architecture("harnet5", 5, (64, 2, 2, 2), (128, 2, 2, 2), (256, 2, 3, 1), (256, 2, 3, 1), (512, 0, 3, 1)),
        _architecture("harnet10", 10, (64, 2, 2, 2), (128, 2, 2, 2), (256, 2, 5, 1), (512, 2, 5, 1), (1024, 0, 3, 1)),
        _architecture("harnet30", 30, (64, 2, 3, 1), (128, 2, 3, 1), (256, 2, 5, 1), (512, 2, 5, 1), (1024, 0, 4, 0)),
    )
}
"""Architectures by name. Each stage is (channels, blocks, factor, order)."""


def find_architecture(name: str, width: int = PUBLISHED_WIDTH) -> Architecture:
    """Return the architecture `name`, scaled to `width` channels in its first stage; HarnetError if there is none.

    All stages scale by the same ratio, so half the width has about a quarter of the parameters.
    """
    if name not in ARCHITECTURES:
        raise HarnetError(f"model {name!r}: no such architecture; one of: {', '.join(ARCHITECTURES)}")
    check_width(width, "width")
    row = ARCHITECTURES[name]
    stages = (replace(stage, channels=stage.channels * width // PUBLISHED_WIDTH) for stage in row.stages)
    return replace(row, stages=tuple(stages))


def _checked(stages: Sequence[int], last: int) -> Sequence[int]:
    if not stages or len(set(stages)) != len(stages) or not set(stages) <= set(range(1, last + 1)):
        raise HarnetError(f"stages {' '.join(map(str, stages)) or '()'}: must be distinct numbers from 1 to {last}")
    return stages


def check_width(width: int, where: str) -> None:
    """Raise HarnetError, prefixed with `where`, unless `width` is a positive multiple of 8."""
    # The matrix units of GPUs take multiples of 8 without padding.
    if width < 8 or width % 8:
        raise HarnetError(f"{where} is {width}; it must be a multiple of 8, {PUBLISHED_WIDTH} as published")


class CircularConv1d(nn.Conv1d):
    """Convolution with circular padding and no bias: (N, C, 1, L) -> (N, C', 1, L).

    Gives the same numbers as `padding_mode="circular"` with a single concatenation: that mode fills its padding in
    several small copies, each a kernel launch, and has no counterpart in older ONNX operator sets. The weight keeps
    the shape of a one-dimensional convolution, (C', C, 5), as the state dict requires.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, KERNEL_SIZE, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 1, L) -> (N, C', 1, L)."""
        around = KERNEL_SIZE // 2
        return F.conv2d(torch.cat([x[..., -around:], x, x[..., :around]], dim=-1), self.weight.unsqueeze(2))


class ResidualBlock(nn.Module):
    """x + conv(ReLU(BN(conv(ReLU(BN(x)))))), (N, C, 1, L) -> (N, C, 1, L)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv1 = CircularConv1d(channels, channels)
        self.conv2 = CircularConv1d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Same shape and dtype as `x`."""
        hidden = self.conv1(F.relu(self.bn1(x)))
        return x + self.conv2(F.relu(self.bn2(hidden)))


class Downsample(nn.Module):
    """Low-pass filter each channel, then keep one sample in `factor`: (N, C, 1, L) -> (N, C, 1, ~L/factor)."""

    kernel: Tensor

    def __init__(self, channels: int, factor: int, order: int) -> None:
        super().__init__()
        self.channels = channels
        self.factor = factor
        self.padding = order * (factor - 1) // 2
        self.register_buffer("kernel", torch.from_numpy(lowpass_kernel(factor, order)).repeat(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Depthwise convolution with zero padding: (N, C, 1, L) -> (N, C, 1, ~L/factor)."""
        kernel = self.kernel.unsqueeze(2)
        return F.conv2d(x, kernel, stride=(1, self.factor), padding=(0, self.padding), groups=self.channels)


def lowpass_kernel(factor: int, order: int) -> np.ndarray:
    """A box of `factor` samples convolved with itself `order` times, sum 1: float32, (order·(factor-1) + factor,)."""
    box = np.ones(factor)
    kernel = box
    for _ in range(order):
        kernel = np.convolve(kernel, box)
    return (kernel / kernel.sum()).astype(np.float32)


def standardise_window(x: Tensor) -> Tensor:
    """Subtract each axis's mean over the window and divide all axes by one scale: (N, 3, L) in g -> (N, 3, L).

    The scale is the square root of the variance averaged over the axes, at least `STILLNESS_FLOOR_G`. One scale for
    all axes keeps their proportions, so a rotated device gives the rotated signal. The result does not depend on the
    direction of gravity (posture) nor, above the floor, on the intensity of the movement. Computed and returned in
    float32, or in float64 if `x` is.
    """
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    centred = wide - wide.mean(dim=2, keepdim=True)
    mean_variance = centred.square().mean(dim=(1, 2), keepdim=True)
    return centred * mean_variance.clamp(min=STILLNESS_FLOOR_G**2).rsqrt()


class Encoder(nn.Module):
    """(N, 3, L) acceleration in g at 30 Hz, any floating dtype -> (N, F, 1) features in the dtype of the weights.

    `architecture` is a name in `ARCHITECTURES`; it fixes L, and F at the published width. `width` is the number of
    channels of the first stage; all other channels, and F, scale with it. With `standardise` each window goes through
    `standardise_window` inside `forward`; callers pass g in either case. `initialisation` says how the convolution
    weights are drawn from torch's global generator:

    - "published": Kaiming normal, fan-out, ReLU, as in the published model.
    - "residual_zero": Kaiming normal, fan-in, with the last convolution of each residual block set to zero, so that
      every block starts as the identity (Goyal et al., arXiv:1706.02677, section 5.1). In earlier trials on small
      data the pretext tasks stayed at chance without this.

    `forward` raises HarnetError if the input's shape or dtype is wrong.
    """

    def __init__(
        self,
        architecture: str,
        standardise: bool = False,
        initialisation: Initialisation = "residual_zero",
        width: int = PUBLISHED_WIDTH,
    ) -> None:
        super().__init__()
        self.architecture = find_architecture(architecture, width)
        self.standardise = standardise
        channels = AXES
        for number, stage in enumerate(self.architecture.stages, start=1):
            self.add_module(f"layer{number}", _stage(channels, stage))
            channels = stage.channels
        self._initialise(initialisation)

    def _initialise(self, initialisation: Initialisation) -> None:
        mode: Literal["fan_in", "fan_out"] = "fan_out" if initialisation == "published" else "fan_in"
        for module in self.modules():
            # On the meta device there is nothing to draw, and drawing would import 80 MB of torch for nothing.
            if isinstance(module, CircularConv1d) and not module.weight.is_meta:
                nn.init.kaiming_normal_(module.weight, mode=mode, nonlinearity="relu")
        if initialisation == "residual_zero":
            for module in self.modules():
                if isinstance(module, ResidualBlock):
                    nn.init.zeros_(module.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, F, 1) of windows (N, 3, L) in g; HarnetError if shape or dtype is wrong."""
        x = self._prepared(x)
        for stage in self.children():
            x = stage(x)
        return x.squeeze(2)

    def features(self, x: Tensor, stages: Sequence[int] = SEVERAL_STAGES) -> Tensor:
        """Outputs of several stages, averaged over time and concatenated: (N, 3, L) in g -> (N, C).

        `stages` are numbers from 1 to 5; the outputs are always concatenated in the order of the network. C is
        `architecture.features_of(stages)`, and `stages=(5,)` gives `forward(x).flatten(1)`. Early stages describe
        short patterns, late ones the whole window. HarnetError for a stage that does not exist or is repeated, and
        for input that `forward` refuses.
        """
        selected = _checked(stages, len(self.architecture.stages))
        x, means = self._prepared(x), []
        for number, stage in enumerate(self.children(), start=1):
            x = stage(x)
            if number in selected:
                means.append(x.flatten(2).mean(dim=2))
        return torch.cat(means, dim=1)

    def _prepared(self, x: Tensor) -> Tensor:
        """Checked input of the first stage, in the dtype of the weights: (N, 3, L) -> (N, 3, 1, L)."""
        if x.dim() != 3 or x.shape[1] != AXES or x.shape[2] != self.architecture.length or not x.is_floating_point():
            raise HarnetError(self._complaint(x))
        if self.standardise:
            x = standardise_window(x)
        return self._as_rows(x.to(next(self.parameters()).dtype))

    def _as_rows(self, x: Tensor) -> Tensor:
        """(N, 3, L) -> (N, 3, 1, L) in the faster memory format, which every stage preserves.

        The matrix units of GPUs prefer channels-last, which torch supports for images only, so a window is treated as
        an image of height 1. On the CPU channels-last is faster in the forward pass but not in the backward pass.
        """
        order = torch.channels_last if x.is_cuda or not self.training else torch.contiguous_format
        return x.unsqueeze(2).contiguous(memory_format=order)

    def _complaint(self, x: Tensor) -> str:
        own = self.architecture
        line = (
            f"{own.name}: expected windows (N, {AXES}, {own.length}), floating point, in g "
            f"({own.seconds} s at {SAMPLING_RATE} Hz); found {tuple(x.shape)} {x.dtype}"
        )
        if not x.is_floating_point():
            return f"{line}: convert to float32 in g"
        if x.dim() == 3 and tuple(x.shape[1:]) == (own.length, AXES):
            return f"{line}: swap the last two dimensions"
        if x.dim() == 2 and tuple(x.shape) == (AXES, own.length):
            return f"{line}: add a batch dimension in front"
        fits = [row.name for row in ARCHITECTURES.values() if x.dim() == 3 and row.length == x.shape[2]]
        return f"{line}: " + (f"that length fits {fits[0]}" if fits else f"cut or resample at {SAMPLING_RATE} Hz")


def _stage(inputs: int, stage: Stage) -> nn.Sequential:
    return nn.Sequential(
        CircularConv1d(inputs, stage.channels),
        *(ResidualBlock(stage.channels) for _ in range(stage.blocks)),
        nn.BatchNorm2d(stage.channels),
        nn.ReLU(),
        Downsample(stage.channels, stage.factor, stage.order),
    )
