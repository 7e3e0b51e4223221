"""Online probe: accuracy of simple classifiers on the features, tested on held-out people."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harnet.errors import HarnetError
from harnet.transfer.folds import people_folds
from harnet.transfer.labelled_windows import read_windows
from pretrain.validation import at_least

SEED = 0
"""Seed of the folds: a constant, so that runs with different seeds can be compared."""
BATCH = 256
"""Windows per forward pass of the encoder."""


@dataclass(frozen=True)
class ProbeConfig:
    """Online probe: how well do simple classifiers on the features recognise activities of unseen people?"""

    folder: Path | None = None
    """Folder of labelled windows (X.npy, Y.npy, pid.npy), as for `harnet finetune`; no probe without it."""
    every: int = 1000
    """Steps between probes; the last step is probed as well."""
    folds: int = 5
    """Cross-validation folds of people; each fold is tested once, on classifiers fitted to the others."""
    neighbours: int = 20
    """k of the k-nearest-neighbour classifier."""
    windows: int = 5000
    """Maximum number of windows, evenly spaced over those in the folder."""

    def __post_init__(self) -> None:
        at_least(1, "probe", {"every": self.every, "neighbours": self.neighbours, "windows": self.windows})
        at_least(2, "probe", {"folds": self.folds})


class Probe:
    """The labelled windows of `config.folder`, held in memory by rank 0 only.

    Raises:
        HarnetError: the folder cannot be used with the architecture, has fewer people than folds, or scikit-learn is
            not installed.
    """

    def __init__(self, config: ProbeConfig, architecture: str) -> None:
        assert config.folder is not None
        try:
            import sklearn  # noqa: F401
        except ModuleNotFoundError:
            raise HarnetError("probe.folder needs scikit-learn: pip install 'harnet[train]'") from None
        self._config = config
        data = read_windows(config.folder, architecture)
        taken = np.unique(np.linspace(0, len(data.windows) - 1, config.windows).astype(int))
        self._windows, self._labels, self._people = data.windows[taken], data.labels[taken], data.people[taken]
        self._folds = people_folds(self._people, config.folds, SEED)

    def evaluate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """Mean over people of macro F1 and kappa of each classifier: "knn/macro_f1", "linear/kappa" and so on.

        `network` has its encoder under the name `feature_extractor`; it runs in evaluation mode and is returned to its
        previous mode.
        """
        from harnet.transfer.metrics import score_person, summarise

        features = self._features(network, device)
        found: dict[str, float] = {}
        for name in ("knn", "linear"):
            predicted = np.empty_like(self._labels)
            for people in self._folds:
                test = np.isin(self._people, people)
                classifier = self._classifier(name, int((~test).sum()))
                classifier.fit(features[~test], self._labels[~test])
                predicted[test] = classifier.predict(features[test])
            scores = []
            for person in np.unique(self._people):
                mine = self._people == person
                scores.append(score_person(str(person), self._labels[mine], predicted[mine]))
            summary = summarise(scores)
            found |= {f"{name}/macro_f1": summary.macro_f1, f"{name}/kappa": summary.kappa}
        return found

    def _features(self, network: nn.Module, device: torch.device) -> NDArray[np.float32]:
        encoder, training = network.get_submodule("feature_extractor"), network.training
        network.eval()
        with torch.inference_mode():
            batches = torch.from_numpy(self._windows).split(BATCH)
            features = torch.cat([encoder(batch.to(device)).flatten(1).float().cpu() for batch in batches])
        network.train(training)
        array: NDArray[np.float32] = features.numpy()
        return array

    def _classifier(self, name: str, windows: int) -> Any:
        """A new classifier; both kinds are deterministic: the same features give the same scores."""
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.neighbors import KNeighborsClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if name == "knn":
            neighbours = min(self._config.neighbours, windows)
            return KNeighborsClassifier(neighbours, metric="cosine", weights="distance")
        # Ridge has a closed form; logistic regression on a thousand features would need a solver and its tolerance.
        return make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(0, 5, 6), class_weight="balanced"))
