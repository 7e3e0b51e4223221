"""Masked reconstruction: predict the hidden patches of a window (after He et al., CVPR 2022, arXiv:2111.06377)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data_shards.layout import RATE
from harnet.encoder import AXES, STILLNESS_FLOOR_G, Encoder
from harnet.errors import HarnetError
from pretrain.model import ModelConfig
from pretrain.objectives.objective import ObjectiveOutput, PreparedBatch
from pretrain.transforms import chain, counts, window_random
from pretrain.validation import at_least

HIDDEN = 512
"""Width of the decoder's hidden layer."""


@dataclass(frozen=True)
class MaskedConfig:
    """What is hidden from the encoder."""

    share: float = 0.5
    """Share of a window's patches that is hidden; the same number in every window."""
    patch_seconds: float = 0.5
    """Length of a patch; a patch hides all axes."""
    orientation: bool = True
    """Rotate every window to a random orientation of the device first."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise HarnetError(f"masked.share is {self.share}; it must be above 0 and below 1")
        at_least(1 / RATE, "masked", {"patch_seconds": self.patch_seconds})
        if self.patch_seconds > 2.5:
            raise HarnetError(
                f"masked.patch_seconds is {self.patch_seconds}; it must be at most 2.5, to leave patches visible"
            )

    def objective(self, model: ModelConfig) -> "Masked":
        """The objective with these options."""
        return Masked(self, model)


class ReconstructionModel(nn.Module):
    """Encoder and a decoder, linear F -> 512, ReLU, linear 512 -> 3 L: (N, 3, L) in g -> (N, 3, L), standardised.

    The decoder is light on purpose, so that the features must hold the information. Its last layer starts at zero, so
    that the first loss is that of predicting each axis's mean.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.feature_extractor = encoder
        last = nn.Linear(HIDDEN, AXES * encoder.architecture.length)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.decoder = nn.Sequential(nn.Linear(encoder.architecture.features, HIDDEN), nn.ReLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Reconstruction of the whole window, in units of `standardised`."""
        flat: Tensor = self.decoder(self.feature_extractor(x).flatten(1))
        return flat.view(len(x), AXES, -1)


class Masked:
    """The encoder sees a window with hidden patches; a light decoder on its features must reconstruct them.

    Samples that the device did not record are hidden as well, never scored, and excluded from means. Non-wear needs no
    handling here: the stream delivers only windows that are worn throughout.
    """

    def __init__(self, config: MaskedConfig, model: ModelConfig) -> None:
        self.config, self.model, self.seconds = config, model, model.seconds

    def build(self) -> nn.Module:
        """Encoder and decoder."""
        return ReconstructionModel(self.model.encoder())

    def prepare(self, windows: Tensor, keys: Tensor) -> PreparedBatch:
        """Windows with hidden patches; targets "signal" (N, 3, T) and "scored" (N, T) float32, 1 where it is scored."""
        known = counts.is_recorded(windows)
        x = counts.to_g(windows).mul_(known[:, None])
        if self.config.orientation:
            x = chain.reoriented(x, keys)
        hidden = self.draw_mask(keys, x.shape[-1])
        seen = known & ~hidden
        # Hidden samples get the mean of the visible ones: they do not stand out, and standardising makes them zero.
        inputs = torch.where(seen[:, None], x, mean_over(x, seen))
        return PreparedBatch(inputs, {"signal": standardised(x, known), "scored": (known & hidden).to(x.dtype)})

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> ObjectiveOutput:
        """Mean squared error over hidden, recorded samples, averaged over windows; and that of predicting the mean.

        A window without scored samples counts as zero, so that the mean over ranks stays that of the
        whole batch.
        """
        signal, scored = targets["signal"], targets["scored"]
        share = scored / (AXES * scored.sum(dim=1, keepdim=True)).clamp_min(1.0)

        def error(found: Tensor) -> Tensor:
            return ((found - signal).square().sum(dim=1) * share).sum(dim=1).mean()

        loss = error(outputs.float())
        return ObjectiveOutput(
            loss, {"loss": loss.detach(), "loss/predicting_the_mean": error(torch.zeros_like(signal))}
        )

    def draw_mask(self, keys: Tensor, length: int) -> Tensor:
        """(N, T) bool, True in the hidden patches: the same number of them, at least one and not all, in each window.

        The last patch is shorter if the patch length does not divide T.
        """
        samples = round(self.config.patch_seconds * RATE)
        patches = -(-length // samples)
        hidden = min(max(round(self.config.share * patches), 1), patches - 1)
        places = window_random.uniform(keys, "mask", patches).argsort(dim=1).argsort(dim=1)
        return (places < hidden).repeat_interleave(samples, dim=1)[:, :length]


def mean_over(x: Tensor, chosen: Tensor) -> Tensor:
    """(N, 3, 1) mean of each axis of (N, 3, T) over the samples where (N, T) is True; 0 where it never is."""
    weight = chosen[:, None].to(x.dtype)
    return (x * weight).sum(dim=2, keepdim=True) / weight.sum(dim=2, keepdim=True).clamp_min(1.0)


def standardised(x: Tensor, known: Tensor) -> Tensor:
    """`harnet.encoder.standardise_window` over the recorded samples (N, T) alone: (N, 3, T) g -> (N, 3, T)."""
    centred = x - mean_over(x, known)
    variance = mean_over(centred.square(), known).mean(dim=1, keepdim=True)
    return centred * variance.clamp(min=STILLNESS_FLOOR_G**2).rsqrt()
