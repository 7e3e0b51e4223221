"""Heads on top of the encoder: a classifier, one head per pretext task, and the complete models."""

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
    """Two-layer perceptron, F -> 512 -> classes with ReLU: (N, F) -> (N, classes) logits."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, CLASSIFIER_HIDDEN)
        self.linear2 = nn.Linear(CLASSIFIER_HIDDEN, classes)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, classes) of features (N, F)."""
        return self.linear2(torch.relu(self.linear1(features)))


class PretextHead(nn.Module):
    """Linear layer F -> 2: was the transformation applied (class 1) or not (class 0)? `zero` zero-initialises it."""

    def __init__(self, features: int, zero: bool = False) -> None:
        super().__init__()
        self.linear1 = nn.Linear(features, 2)
        if zero:
            nn.init.zeros_(self.linear1.weight)
            nn.init.zeros_(self.linear1.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (N, 2) of features (N, F)."""
        return self.linear1(features)


class ClassifierModel(nn.Module):
    """Encoder and classifier: (N, 3, L) in g -> (N, classes) logits. Other arguments are those of `Encoder`."""

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
    """Encoder and the four pretext heads: (N, 3, L) in g -> (N, 4, 2) logits. Other arguments are those of `Encoder`.

    The second dimension is in the order of `PRETEXT_HEADS`. All four heads always run: a head that the loss does not
    use then has a zero gradient instead of none, for which DistributedDataParallel would wait.
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
        """Logits (N, task, class), shape (N, 4, 2), of windows (N, 3, L) in g."""
        features = self.feature_extractor(x).flatten(1)
        return torch.stack([self.get_submodule(name)(features) for name in PRETEXT_HEADS.values()], dim=1)
