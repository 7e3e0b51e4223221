"""What sits on the encoder: a classifier for labelled data, one head for each pretext task, and the whole models."""

import torch
from torch import Tensor, nn

from harnet.encoder import PUBLISHED_WIDTH, Encoder, Initialisation

CLASSIFIER_HIDDEN = 512

PRETEXT_HEADS: dict[str, str] = {
    "reversal": "aot_h",
    "scaling": "scale_h",
    "permutation": "permute_h",
    "time_warp": "time_w_h",
}
"""Pretext task -> name of its head in the state dict, in the order of `PretextModel`'s output."""


class Classifier(nn.Module):
    """Linear F -> 512, ReLU, linear 512 -> classes: (N, F) -> (N, classes) logits."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, CLASSIFIER_HIDDEN)
        self.linear2 = nn.Linear(CLASSIFIER_HIDDEN, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.linear2(torch.relu(self.linear1(features)))


class PretextHead(nn.Module):
    """One linear layer F -> 2: was the transformation applied (class 1) or not (class 0)."""

    def __init__(self, features: int, zero: bool = False) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, 2)
        if zero:
            nn.init.zeros_(self.linear1.weight)
            nn.init.zeros_(self.linear1.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, 2)."""
        return self.linear1(features)


class ClassifierModel(nn.Module):
    """Encoder and classifier: (N, 3, L) in g -> (N, classes) logits. Arguments as of `Encoder`."""

    def __init__(
        self,
        architecture: str,
        classes: int,
        standardise: bool = False,
        initialisation: Initialisation = "residual_zero",
        width: int = PUBLISHED_WIDTH,
    ) -> None:
        super().__init__()
        self.feature_extractor = Encoder(architecture, standardise, initialisation, width)
        self.classifier = Classifier(self.feature_extractor.architecture.features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, classes)."""
        return self.classifier(self.feature_extractor(x).flatten(1))


class PretextModel(nn.Module):
    """Encoder and the four pretext heads: (N, 3, L) in g -> (N, 4, 2) logits. Arguments as of `Encoder`.

    The second dimension is in the order of `PRETEXT_HEADS`. All four heads always run: a head that the loss leaves
    out then has a gradient of zeros rather than none, which distributed training would wait for.
    With `zero_heads` the heads start at zero, so the first loss is exactly ln 2.
    """

    def __init__(
        self,
        architecture: str,
        standardise: bool = False,
        initialisation: Initialisation = "residual_zero",
        zero_heads: bool = False,
        width: int = PUBLISHED_WIDTH,
    ) -> None:
        super().__init__()
        self.feature_extractor = Encoder(architecture, standardise, initialisation, width)
        features = self.feature_extractor.architecture.features
        for name in PRETEXT_HEADS.values():
            self.add_module(name, PretextHead(features, zero_heads))

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, task, class)."""
        features = self.feature_extractor(x).flatten(1)
        return torch.stack([self.get_submodule(name)(features) for name in PRETEXT_HEADS.values()], dim=1)
