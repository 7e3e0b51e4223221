"""Texture: hide artefacts of the other transforms near the Nyquist frequency.

Warping a band-limited recording by linear interpolation adds power near 15 Hz, and a segment boundary is a step. An
encoder can use these artefacts to solve the tasks without looking at movement. A low-pass filter and white noise,
applied to all windows alike, hide most of them (docs/results.md has the figures).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from data_shards.layout import RATE
from pretrain.transforms.constants import table
from pretrain.transforms.window_random import normal

TAPS = 31
"""Taps of a Hamming-windowed FIR filter: a transition band of about 3 Hz at 30 Hz."""


def _filter(cutoff: float, device: torch.device, dtype: torch.dtype) -> Tensor:
    def make() -> Tensor:
        from scipy.signal import firwin  # takes a second to import, and only this option needs it

        return torch.as_tensor(firwin(TAPS, cutoff, fs=RATE), dtype=dtype)[None, None]

    return table(f"low pass {cutoff} Hz {dtype}", device, make)


def low_pass(x: Tensor, cutoff: float) -> Tensor:
    """(N, 3, T) -> (N, 3, T) without frequencies above `cutoff` Hz; zero phase, padded with the end values."""
    length = x.shape[-1]
    padded = F.pad(x.reshape(-1, 1, length), (TAPS // 2, TAPS // 2), mode="replicate")
    return F.conv1d(padded, _filter(cutoff, x.device, x.dtype)).view_as(x)


def draw_noise(keys: Tensor, length: int) -> Tensor:
    """(N, 3, T) float64 standard normal numbers."""
    return normal(keys, "noise", 3 * length).view(-1, 3, length)


def add_noise(x: Tensor, noise: Tensor, sigma: float) -> Tensor:
    """(N, 3, T) plus noise of `sigma` g on every sample."""
    return x + sigma * noise.to(x.dtype)


def noisy(x: Tensor, keys: Tensor, sigma: float) -> Tensor:
    """Draw and apply noise."""
    return add_noise(x, draw_noise(keys, x.shape[-1]), sigma)
