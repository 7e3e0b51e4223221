"""The ways to classify that are always shown side by side: forest, scratch, untrained, frozen, fine-tuned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harnet.encoder import Encoder
from harnet.evaluation.protocols import Recipe
from harnet.heads import Classifier, ClassifierModel
from harnet.transfer.dataset import LabelledWindows
from harnet.transfer.loop import Fitted, Part, class_weights, in_batches, train
from harnet.weights.load import Bundle, classifier_on

FOREST, SCRATCH, UNTRAINED, FROZEN, TUNED = "forest", "scratch", "untrained", "frozen", "fine-tuned"
ARMS = (FOREST, SCRATCH, UNTRAINED, FROZEN, TUNED)
"""Forest on hand-made features; the network from nothing; a classifier on an encoder that was never trained, and on
the pretrained one; all of it trained. Features of random convolutions are no bad ones (Saxe et al., ICML 2011), so
only what frozen has over untrained was learnt in pretraining."""
NETWORKS = (SCRATCH, TUNED)
"""Arms that train the encoder, which is where the time goes."""


@dataclass(frozen=True)
class Inputs:
    """A data set as the arms see it."""

    data: LabelledWindows
    """Windows, labels, people."""
    handmade: NDArray[np.float32]
    """(N, F) for the forest."""
    encoded: NDArray[np.float32]
    """(N, F') of the pretrained encoder in evaluation mode."""


@dataclass(frozen=True)
class Rows:
    """Indices of windows."""

    train: NDArray[np.int64]
    """Learnt from."""
    validation: NDArray[np.int64]
    """Early stopping decides by them; empty without."""
    test: NDArray[np.int64]
    """Classified."""


@dataclass(frozen=True)
class Setting:
    """What an arm needs beside its data."""

    bundle: Bundle
    """The pretrained weights; scratch has the same architecture, width and normalisation."""
    recipe: Recipe
    """Of networks."""
    trees: int
    """Of the forest."""
    threads: int
    """Of the forest."""
    device: str
    """Of networks."""


def run_arm(
    arm: str, inputs: Inputs, rows: Rows, setting: Setting, seed: int, on_step: Callable[[], object] = lambda: None
) -> tuple[NDArray[np.int64], Fitted | None]:
    """Train an arm and classify the test windows: their classes (n,), and what happened in training."""
    if arm == FOREST:
        return _forest(inputs, rows, setting, seed), None
    data, targets = inputs.data, torch.from_numpy(inputs.data.labels)
    network, rates, source = _network(arm, inputs, rows.train, setting, seed)
    network.to(setting.device)
    learnt, held = (Part(source[r], targets[r]) for r in map(torch.from_numpy, (rows.train, rows.validation)))
    validation = held if len(rows.validation) else None
    done = fit(network, rates, learnt, validation, len(data.classes), setting.recipe, seed, setting.device, on_step)
    tested = source[torch.from_numpy(rows.test)]
    predicted = in_batches(lambda x: network(x).softmax(dim=1), tested, setting.device).numpy().argmax(axis=1)
    return predicted.astype(np.int64), done


def fit(
    network: nn.Module,
    rates: list[tuple[nn.Module, float]],
    learnt: Part,
    validation: Part | None,
    classes: int,
    recipe: Recipe,
    seed: int,
    device: str,
    on_step: Callable[[], object] = lambda: None,
) -> Fitted:
    """Train the modules in `rates` as the recipe says, in place; leaves `network` in evaluation mode."""
    weights = class_weights(learnt.targets, classes) if recipe.balance_classes else torch.ones(classes)
    schedule = recipe.schedule(len(learnt.targets), validation is not None)
    return train(network, rates, learnt, validation, weights, schedule, seed, device, on_step)


def _forest(inputs: Inputs, rows: Rows, setting: Setting, seed: int) -> NDArray[np.int64]:
    """A forest needs nobody to stop by, so it learns from the validation people too: a strong baseline."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=setting.trees,
        class_weight="balanced_subsample",
        random_state=seed,
        n_jobs=setting.threads,
    )
    learnt = np.concatenate([rows.train, rows.validation])
    forest.fit(inputs.handmade[learnt], inputs.data.labels[learnt])
    predicted: NDArray[np.int64] = forest.predict(inputs.handmade[rows.test])
    return predicted


def _network(
    arm: str, inputs: Inputs, train: NDArray[np.int64], setting: Setting, seed: int
) -> tuple[nn.Module, list[tuple[nn.Module, float]], Tensor]:
    """The network to train, the learning rates of its parts, and what goes into it: windows, or features.

    Fresh parameters depend on `seed` alone; the untrained encoder is the one that scratch starts from.
    """
    config, recipe, classes = setting.bundle.config, setting.recipe, len(inputs.data.classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if arm == FROZEN:
            head = Classifier(inputs.encoded.shape[1], classes)
            return head, [(head, recipe.head_learning_rate)], _scaled(inputs.encoded, train, recipe)
        if arm == TUNED:
            model = classifier_on(setting.bundle, config.architecture, classes, "weights")
        else:
            assert arm in (SCRATCH, UNTRAINED)
            model = ClassifierModel(config.architecture, classes, standardise=config.standardise, width=config.width)
    windows, head = torch.from_numpy(inputs.data.windows), model.classifier
    if arm == UNTRAINED:
        encoded = encode(model.feature_extractor, windows, setting.device)
        return head, [(head, recipe.head_learning_rate)], _scaled(encoded, train, recipe)
    rates = [(model.feature_extractor, recipe.encoder_learning_rate), (head, recipe.head_learning_rate)]
    return model, rates, windows


def encode(encoder: Encoder, windows: Tensor, device: str) -> NDArray[np.float32]:
    """(N, F) of windows (N, 3, L) in g, in evaluation mode."""
    encoder.to(device).eval()
    features: NDArray[np.float32] = in_batches(lambda x: encoder(x).flatten(1), windows, device).numpy()
    return features


def _scaled(features: NDArray[np.float32], train: NDArray[np.int64], recipe: Recipe) -> Tensor:
    if not recipe.standardise_features:
        return torch.from_numpy(features)
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    # A feature that is constant over the training people says nothing; dividing by its rounding would make noise of it.
    return torch.from_numpy((features - mean) / np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32))
