"""Views: how two views of the same movement may differ, for contrastive objectives."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from harnet.errors import HarnetError
from pretrain.transforms import chain, texture, window_random
from pretrain.validation import at_least

View = Literal["reversal", "scaling", "permutation", "time_warp", "rotation", "tilt", "mirror", "gain", "noise"]


@dataclass(frozen=True)
class ViewsConfig:
    """How the views of a window are made."""

    section: ClassVar[str]
    """Name of the section of the configuration, for messages."""

    transforms: tuple[View, ...] = ("scaling", "permutation", "time_warp", "rotation", "noise")
    """Transforms that make a view, applied in this order."""
    probability: float = 0.5
    """Probability with which each transform is applied to each view of each window."""
    noise_g: float = 0.02
    """Standard deviation of the white noise."""
    tilt_degrees: float = 20.0
    """Largest angle of `tilt`; `rotation` has no limit."""
    gain: float = 0.1
    """Largest relative change of `gain`."""

    def __post_init__(self) -> None:
        section = self.section
        if not self.transforms or len(set(self.transforms)) != len(self.transforms):
            raise HarnetError(f"{section}.transforms is {self.transforms}; it must name at least one, and none twice")
        if not 0 < self.probability <= 1:
            raise HarnetError(f"{section}.probability is {self.probability}; it must be above 0 and at most 1")
        at_least(0, section, {"noise_g": self.noise_g, "tilt_degrees": self.tilt_degrees, "gain": self.gain})
        if self.tilt_degrees > 180:
            raise HarnetError(f"{section}.tilt_degrees is {self.tilt_degrees}; it must be at most 180")
        if self.gain >= 1:
            raise HarnetError(f"{section}.gain is {self.gain}; it must be below 1")

    def changed(self, x: Tensor, keys: Tensor) -> Tensor:
        """A view of every window, drawn from its key: (M, 3, T) g -> (M, 3, T). `x` may be overwritten."""
        every: dict[str, chain.Transform] = {
            **chain.LABELLED,
            "rotation": chain.rotated,
            "tilt": partial(chain.tilted, most=self.tilt_degrees),
            "mirror": chain.mirrored,
            "gain": partial(chain.amplified, most=self.gain),
            "noise": partial(texture.noisy, sigma=self.noise_g),
        }
        transforms = {str(name): every[name] for name in self.transforms}
        applied = window_random.chances(keys, "views", self.probability, len(transforms))
        return chain.apply_to_some(x, keys, transforms, applied.unbind(1))
