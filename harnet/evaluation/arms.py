"""The four ways to classify that are always shown side by side: forest, scratch, frozen, fine-tuned."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from harnet.evaluation.protocols import Recipe
from harnet.heads import Classifier, ClassifierModel
from harnet.transfer.dataset import LabelledWindows
from harnet.transfer.loop import Fitted, Part, class_weights, in_batches, train
from harnet.weights.load import Bundle, classifier_on

FOREST, SCRATCH, FROZEN, TUNED = "forest", "scratch", "frozen", "fine-tuned"
ARMS = (FOREST, SCRATCH, FROZEN, TUNED)
"""Forest on hand-made features; the network from nothing; a classifier on the frozen encoder; all of it trained."""
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
    data = inputs.data
    classes, targets = len(data.classes), torch.from_numpy(data.labels)
    network, rates = _network(arm, inputs, setting, classes, seed)
    network.to(setting.device)
    if arm == FROZEN:
        source = torch.from_numpy(_scaled(inputs.encoded, rows.train, setting.recipe))
    else:
        source = torch.from_numpy(data.windows)
    learnt, held = (Part(source[r], targets[r]) for r in map(torch.from_numpy, (rows.train, rows.validation)))
    validation = held if len(rows.validation) else None
    done = fit(network, rates, learnt, validation, classes, setting.recipe, seed, setting.device, on_step)
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
    arm: str, inputs: Inputs, setting: Setting, classes: int, seed: int
) -> tuple[nn.Module, list[tuple[nn.Module, float]]]:
    """The network to train and the learning rates of its parts; fresh parameters depend on `seed` alone."""
    config, recipe = setting.bundle.config, setting.recipe
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if arm == FROZEN:
            head = Classifier(inputs.encoded.shape[1], classes)
            return head, [(head, recipe.head_learning_rate)]
        if arm == TUNED:
            model = classifier_on(setting.bundle, config.architecture, classes, "weights")
        else:
            assert arm == SCRATCH
            model = ClassifierModel(config.architecture, classes, standardise=config.standardise, width=config.width)
    return model, [
        (model.feature_extractor, recipe.encoder_learning_rate),
        (model.classifier, recipe.head_learning_rate),
    ]


def _scaled(features: NDArray[np.float32], train: NDArray[np.int64], recipe: Recipe) -> NDArray[np.float32]:
    if not recipe.standardise_features:
        return features
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    # A feature that is constant over the training people says nothing; dividing by its rounding would make noise of it.
    scaled: NDArray[np.float32] = (features - mean) / np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
    return scaled
