"""The encoder computes the same function as the published one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harnet.encoder import ARCHITECTURES
from harnet.heads import ClassifierModel, PretextModel

TOLERANCE = 1e-5
NAMES = sorted(ARCHITECTURES)
EXPECTED = Path(__file__).with_name("expected_outputs.json")

Fill = Callable[[nn.Module], None]


def distance(found: Tensor, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found.detach().numpy() - expected) / np.linalg.norm(expected))


def features(model: PretextModel | ClassifierModel, x: Tensor, train: bool) -> Tensor:
    with torch.no_grad():
        return model.train(train).feature_extractor(x).flatten(1)


@pytest.mark.parametrize("name", NAMES)
def test_pretext_model_equals_the_published_one(name: str, reference: Path, fill: Fill) -> None:
    with np.load(reference / f"{name}.npz", allow_pickle=False) as vectors:
        model = PretextModel(name)
        fill(model)
        x = torch.from_numpy(vectors["x"])
        assert distance(features(model, x, train=False), vectors["features"]) <= TOLERANCE
        logits = model.eval()(x)
        for task, key in enumerate(("mtl_aot", "mtl_scale", "mtl_permute", "mtl_time_w")):
            assert distance(logits[:, task], vectors[key]) <= TOLERANCE
        assert distance(features(model, x, train=True), vectors["mtl_train_mode_features"]) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_classifier_model_equals_the_published_one(name: str, reference: Path, fill: Fill) -> None:
    with np.load(reference / f"{name}.npz", allow_pickle=False) as vectors:
        model = ClassifierModel(name, 5)
        fill(model)
        x = torch.from_numpy(vectors["x"])
        assert distance(model.eval()(x), vectors["classifier"]) <= TOLERANCE
        assert distance(features(model, x, train=True), vectors["classifier_train_mode_features"]) <= TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_lowpass_kernels_equal_the_published_ones(name: str, reference: Path) -> None:
    state = PretextModel(name).state_dict()
    with np.load(reference / f"{name}.npz", allow_pickle=False) as vectors:
        kernels = [key for key in vectors if key.startswith("kernel/")]
        assert len(kernels) == 5
        for key in kernels:
            rows = state[key.removeprefix("kernel/")][:, 0].numpy()
            np.testing.assert_array_equal(rows, np.broadcast_to(vectors[key], rows.shape))


@pytest.mark.parametrize("name", NAMES)
def test_state_dicts_have_the_published_names_order_and_shapes(name: str, reference: Path) -> None:
    shapes = json.loads((reference / "state_dict_shapes.json").read_text())
    for model, kind in ((PretextModel(name), "mtl"), (ClassifierModel(name, 5), "classifier")):
        found = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        assert list(found.items()) == list(shapes[f"{name}.{kind}"].items())


def sampled_outputs(name: str, fill: Fill, windows: Callable[[str, int, int], Tensor]) -> dict[str, list[float]]:
    """A few dozen outputs of both models for windows computed by formula; `expected_outputs.json` holds them."""
    x = windows(name, 3, ARCHITECTURES[name].length)
    pretext, classifier = PretextModel(name), ClassifierModel(name, 5)
    fill(pretext)
    fill(classifier)
    with torch.no_grad():
        outputs = {
            "features": features(pretext, x, train=False)[:, ::97],
            "pretext": pretext.eval()(x),
            "classifier": classifier.eval()(x),
            "train_mode_features": features(pretext, x, train=True)[:, ::97],
        }
    return {key: [float(f"{value:.8g}") for value in tensor.flatten().tolist()] for key, tensor in outputs.items()}


@pytest.mark.parametrize("name", NAMES)
def test_outputs_are_those_recorded_when_equality_was_shown(
    name: str, fill: Fill, windows: Callable[[str, int, int], Tensor]
) -> None:
    expected = json.loads(EXPECTED.read_text())[name]
    found = sampled_outputs(name, fill, windows)
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert distance(torch.tensor(found[key], dtype=torch.float64), np.array(values)) <= TOLERANCE, key
