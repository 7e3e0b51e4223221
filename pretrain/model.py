"""Configuration of the encoder, shared by all objectives."""

from dataclasses import dataclass
from typing import Literal

from harnet.encoder import PUBLISHED_WIDTH, Encoder, check_width, find_architecture


@dataclass(frozen=True)
class ModelConfig:
    """The network."""

    architecture: Literal["harnet5", "harnet10", "harnet30"] = "harnet10"
    """Length of a window: 5, 10 or 30 s."""
    width: int = PUBLISHED_WIDTH
    """Channels of the first stage, a multiple of 8; the other stages and the features keep their ratio to it."""
    standardise: bool = True
    """Remove the mean of each axis and the scale of each window inside the encoder; False as published."""
    initialisation: Literal["published", "residual_zero"] = "residual_zero"
    """Initialisation of the encoder; see harnet/encoder.py."""

    def __post_init__(self) -> None:
        check_width(self.width, "model.width")

    @property
    def seconds(self) -> int:
        """Length of the encoder's input windows."""
        return find_architecture(self.architecture).seconds

    def encoder(self) -> Encoder:
        """A newly initialised encoder; draws from torch's global generator."""
        return Encoder(self.architecture, self.standardise, self.initialisation, self.width)
