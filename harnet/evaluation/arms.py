"""The classifiers ("arms") that are compared: on handcrafted, untrained or frozen features, and trained end to end."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harnet.encoder import SEVERAL_STAGES, Encoder, find_architecture
from harnet.evaluation import linear
from harnet.evaluation.protocols import Recipe
from harnet.heads import Classifier, ClassifierModel
from harnet.transfer.labelled_windows import LabelledWindows
from harnet.transfer.supervised_loop import Fitted, LabelledInputs, class_weights, in_batches, train_with_early_stopping
from harnet.weights.load import Bundle, classifier_on

FOREST, HANDMADE_LINEAR = "forest", "handmade-linear"
SCRATCH, TUNED = "scratch", "fine-tuned"
UNTRAINED, FROZEN = "untrained", "frozen"
UNTRAINED_LINEAR, FROZEN_LINEAR = "untrained-linear", "frozen-linear"
UNTRAINED_HANDMADE, FROZEN_HANDMADE = "untrained-handmade", "frozen-handmade"
UNTRAINED_FUSED, FROZEN_FUSED = "untrained-fused", "frozen-fused"
SCRATCH_FUSED, TUNED_FUSED = "scratch-fused", "fine-tuned-fused"
ARMS = (
    FOREST, HANDMADE_LINEAR, SCRATCH, SCRATCH_FUSED, UNTRAINED, UNTRAINED_LINEAR, UNTRAINED_HANDMADE, UNTRAINED_FUSED,
    FROZEN, FROZEN_LINEAR, FROZEN_HANDMADE, FROZEN_FUSED, TUNED, TUNED_FUSED,
)  # fmt: skip
"""Random forest and logistic regression on handcrafted features; the network trained from scratch; for an untrained
and for the pretrained, frozen encoder: a small network on the last stage, logistic regression on several stages,
logistic regression on these plus handcrafted features, and late fusion of the two; the pretrained network fine-tuned.

Features of random convolutions are not bad (Saxe et al., ICML 2011), so only the advantage of frozen over untrained is
due to pretraining, also when handcrafted features are added."""
LINEAR = (HANDMADE_LINEAR, UNTRAINED_LINEAR, UNTRAINED_HANDMADE, FROZEN_LINEAR, FROZEN_HANDMADE)
"""Arms that use logistic regression."""
FUSED = {
    SCRATCH_FUSED: SCRATCH, UNTRAINED_FUSED: UNTRAINED_LINEAR, FROZEN_FUSED: FROZEN_LINEAR, TUNED_FUSED: TUNED,
}  # fmt: skip
"""Late fusion: each of these arms averages the log-probabilities of the arm named here and of `HANDMADE_LINEAR`, the
logarithmic opinion pool (Genest and Zidek 1986). It trains nothing."""
LAST_STAGE = SEVERAL_STAGES[-1]
NETWORKS = (SCRATCH, TUNED)
"""Arms that train the encoder, which is where the time goes."""
QUESTIONS = (
    (FROZEN, UNTRAINED), (FROZEN_LINEAR, UNTRAINED_LINEAR), (FROZEN_LINEAR, HANDMADE_LINEAR),
    (FROZEN_HANDMADE, HANDMADE_LINEAR), (FROZEN_HANDMADE, UNTRAINED_HANDMADE), (FROZEN_FUSED, HANDMADE_LINEAR),
    (FROZEN_FUSED, UNTRAINED_FUSED), (TUNED, SCRATCH), (TUNED, FOREST), (TUNED_FUSED, SCRATCH_FUSED),
    (TUNED_FUSED, HANDMADE_LINEAR),
)  # fmt: skip
"""The differences that measure the benefit of pretraining, out of all pairs of arms."""


def parts_of(arm: str) -> tuple[str, ...]:
    """The arms that must be run for this one: itself, or the two that it fuses."""
    return (HANDMADE_LINEAR, FUSED[arm]) if arm in FUSED else (arm,)


def is_question(difference: Mapping[str, Any]) -> bool:
    """Whether a difference, of the arms "one" and "other", is one of `QUESTIONS`."""
    return (difference["one"], difference["other"]) in QUESTIONS


@dataclass(frozen=True)
class Inputs:
    """A data set as the arms see it."""

    data: LabelledWindows
    """Windows, labels, people."""
    handmade: NDArray[np.float32]
    """(N, F) handcrafted features."""
    stages: NDArray[np.float32]
    """(N, F') features of `SEVERAL_STAGES` of the pretrained encoder in evaluation mode; the last stage comes last."""
    untrained: Callable[[int], NDArray[np.float32]]
    """The same of the untrained encoder that is drawn with a seed."""


@dataclass(frozen=True)
class SplitIndices:
    """Indices of windows."""

    train: NDArray[np.int64]
    """Training windows."""
    validation: NDArray[np.int64]
    """Windows for early stopping; empty if there are none."""
    test: NDArray[np.int64]
    """Windows to classify."""


@dataclass(frozen=True)
class Setting:
    """What an arm needs besides its data."""

    bundle: Bundle
    """The pretrained weights; scratch has the same architecture, width and normalisation."""
    recipe: Recipe
    """Training recipe of networks."""
    trees: int
    """Number of trees of the random forest."""
    threads: int
    """Threads of the random forest and of logistic regression."""
    device: str
    """Torch device of networks."""


def run_arm(
    arm: str,
    inputs: Inputs,
    rows: SplitIndices,
    setting: Setting,
    seed: int,
    on_step: Callable[[], object] = lambda: None,
) -> tuple[NDArray[np.float32], Fitted | None]:
    """Train an arm that is not in `FUSED` and classify the test windows.

    Returns log-probabilities (n, classes), and the outcome of network training.
    """
    if arm == FOREST:
        return _forest(inputs, rows, setting, seed), None
    if arm in LINEAR:
        return _linear(arm, inputs, rows, setting, seed), None
    data, targets = inputs.data, torch.from_numpy(inputs.data.labels)
    network, rates, source = _network(arm, inputs, rows.train, setting, seed)
    network.to(setting.device)
    learnt, held = (LabelledInputs(source[r], targets[r]) for r in map(torch.from_numpy, (rows.train, rows.validation)))
    validation = held if len(rows.validation) else None
    done = train_arm(
        network, rates, learnt, validation, len(data.classes), setting.recipe, seed, setting.device, on_step
    )
    tested = source[torch.from_numpy(rows.test)]
    scores: NDArray[np.float32] = in_batches(lambda x: network(x).log_softmax(dim=1), tested, setting.device).numpy()
    return scores, done


def train_arm(
    network: nn.Module,
    rates: list[tuple[nn.Module, float]],
    learnt: LabelledInputs,
    validation: LabelledInputs | None,
    classes: int,
    recipe: Recipe,
    seed: int,
    device: str,
    on_step: Callable[[], object] = lambda: None,
) -> Fitted:
    """Train the modules in `rates` in place with the recipe; leaves `network` in evaluation mode."""
    weights = class_weights(learnt.targets, classes) if recipe.balance_classes else torch.ones(classes)
    schedule = recipe.schedule(len(learnt.targets), validation is not None)
    return train_with_early_stopping(network, rates, learnt, validation, weights, schedule, seed, device, on_step)


def _forest(inputs: Inputs, rows: SplitIndices, setting: Setting, seed: int) -> NDArray[np.float32]:
    """A forest needs no early stopping, so it is trained on the validation people too: a strong baseline."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(
        n_estimators=setting.trees,
        class_weight="balanced_subsample",
        random_state=seed,
        n_jobs=setting.threads,
    )
    learnt = np.concatenate([rows.train, rows.validation])
    forest.fit(inputs.handmade[learnt], inputs.data.labels[learnt])
    votes = np.zeros((len(rows.test), len(inputs.data.classes)))
    votes[:, forest.classes_] = forest.predict_proba(inputs.handmade[rows.test])
    return np.log(np.maximum(votes, np.finfo(np.float32).tiny)).astype(np.float32)


def _linear(arm: str, inputs: Inputs, rows: SplitIndices, setting: Setting, seed: int) -> NDArray[np.float32]:
    """Like the forest, it needs no early stopping and is trained on the validation people too."""
    if arm == HANDMADE_LINEAR:
        features = inputs.handmade
    elif arm in (UNTRAINED_LINEAR, UNTRAINED_HANDMADE):
        features = inputs.untrained(seed)
    else:
        features = inputs.stages
    if arm in (UNTRAINED_HANDMADE, FROZEN_HANDMADE):
        features = np.concatenate([inputs.handmade, features], axis=1)
    learnt = np.concatenate([rows.train, rows.validation])
    data, balance = inputs.data, setting.recipe.balance_classes
    return linear.classify(features, data.labels, data.people, learnt, rows.test, balance, setting.threads)[0]


def draw_classifier(bundle: Bundle, classes: int, seed: int) -> ClassifierModel:
    """The network that scratch starts from. It depends only on `seed`; its encoder does not depend on `classes`."""
    config = bundle.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClassifierModel(config.architecture, classes, standardise=config.standardise, width=config.width)


def _network(
    arm: str, inputs: Inputs, train: NDArray[np.int64], setting: Setting, seed: int
) -> tuple[nn.Module, list[tuple[nn.Module, float]], Tensor]:
    """The network to train, the learning rates of its modules, and its input: windows or features.

    Random parameters depend only on `seed`; the untrained encoder is the one that scratch starts from.
    """
    config, recipe, classes = setting.bundle.config, setting.recipe, len(inputs.data.classes)
    windows = torch.from_numpy(inputs.data.windows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if arm == FROZEN:
            size = find_architecture(config.architecture, config.width).features
            head = Classifier(size, classes)
            return head, [(head, recipe.head_learning_rate)], _scaled(inputs.stages[:, -size:], train, recipe)
        if arm == TUNED:
            model = classifier_on(setting.bundle, config.architecture, classes, "weights")
        else:
            assert arm in (SCRATCH, UNTRAINED)
            model = draw_classifier(setting.bundle, classes, seed)
    head = model.classifier
    if arm == UNTRAINED:
        size = model.feature_extractor.architecture.features
        return head, [(head, recipe.head_learning_rate)], _scaled(inputs.untrained(seed)[:, -size:], train, recipe)
    rates = [(model.feature_extractor, recipe.encoder_learning_rate), (head, recipe.head_learning_rate)]
    return model, rates, windows


def encode(
    encoder: Encoder, windows: Tensor, device: str, stages: Sequence[int] = (LAST_STAGE,)
) -> NDArray[np.float32]:
    """Features (N, F) of windows (N, 3, L) in g: the outputs of `stages`, in evaluation mode."""
    encoder.to(device).eval()
    features: NDArray[np.float32] = in_batches(lambda x: encoder.features(x, stages), windows, device).numpy()
    return features


def _scaled(features: NDArray[np.float32], train: NDArray[np.int64], recipe: Recipe) -> Tensor:
    if not recipe.standardise_features:
        return torch.from_numpy(features)
    mean, deviation = features[train].mean(axis=0), features[train].std(axis=0)
    # A feature that is constant over the training people is useless; dividing it by its rounding error gives noise.
    return torch.from_numpy((features - mean) / np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32))
