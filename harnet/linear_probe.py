"""A linear classifier on an encoder's features concatenated with handcrafted features."""

import torch
from torch import Tensor, nn

from harnet import handcrafted
from harnet.encoder import SEVERAL_STAGES, Architecture, Encoder


def feature_count(architecture: Architecture) -> int:
    """Number of input features of the classifier."""
    return len(handcrafted.names()) + architecture.features_of(SEVERAL_STAGES)


class LinearProbe(nn.Module):
    """(N, 3, L) in g at 30 Hz -> (N, classes) logits.

    The features are those of `harnet.handcrafted`, which preserve posture and strength of movement where the encoder
    standardises its windows, and the means over time of `SEVERAL_STAGES`.
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.feature_extractor = encoder
        self.linear = nn.Linear(feature_count(encoder.architecture), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits. Handcrafted features are computed on the CPU; the linear layer is float32 even under autocast."""
        made = torch.from_numpy(handcrafted.features(x.detach().float().cpu().numpy())).to(x.device)
        features = torch.cat([made, self.feature_extractor.features(x).float()], dim=1)
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.linear(features)
        return logits
