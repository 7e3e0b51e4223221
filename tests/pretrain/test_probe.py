from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harnet.errors import HarnetError
from pretrain.run.probe import Probe, ProbeConfig

CPU = torch.device("cpu")


class Features(nn.Module):
    """A stand-in for an encoder: its features are the first samples of the x axis."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.Sequential()
        self.feature_extractor.forward = lambda x: x[:, 0, :8, None]


def write(folder: Path, labels: np.ndarray, people: np.ndarray, signal: np.ndarray) -> Path:
    random = np.random.default_rng(0)
    windows = random.normal(0, 0.1, (len(labels), 3, 150)).astype(np.float32)
    windows[:, 2] += 1.0
    windows[:, 0, :8] += signal[:, None]
    folder.mkdir()
    np.save(folder / "X.npy", windows)
    np.save(folder / "Y.npy", labels.astype(str))
    np.save(folder / "pid.npy", people.astype(str))
    return folder


@pytest.fixture
def separable(tmp_path: Path) -> Path:
    labels, people = np.tile(np.arange(2), 60), np.repeat(np.arange(6), 20)
    return write(tmp_path / "separable", labels, people, 2.0 * labels - 1.0)


def test_what_the_features_tell_is_found_on_people_not_seen(separable: Path) -> None:
    found = Probe(ProbeConfig(separable, folds=3), "harnet5").evaluate(Features(), CPU)
    assert set(found) == {"knn/macro_f1", "knn/kappa", "linear/macro_f1", "linear/kappa"}
    assert min(found.values()) > 0.99


def test_the_same_features_give_the_same_bits(separable: Path) -> None:
    config = ProbeConfig(separable, folds=3, windows=50)
    first, second = (Probe(config, "harnet5").evaluate(Features(), CPU) for _ in range(2))
    assert first == second


def test_knowing_the_person_does_not_help(tmp_path: Path) -> None:
    """Each person does one activity and can be recognised: a split by window instead of person would score 1."""
    people = np.repeat(np.arange(6), 20)
    folder = write(tmp_path / "people", people % 2, people, 3.0 * people)
    found = Probe(ProbeConfig(folder, folds=6, neighbours=5), "harnet5").evaluate(Features(), CPU)
    assert found["knn/macro_f1"] < 0.5


def test_the_network_comes_back_in_the_mode_it_was_in(separable: Path) -> None:
    network = Features()
    Probe(ProbeConfig(separable, folds=2), "harnet5").evaluate(network, CPU)
    assert network.training


def test_a_folder_that_does_not_fit_is_refused(separable: Path) -> None:
    with pytest.raises(HarnetError, match="fits harnet5"):
        Probe(ProbeConfig(separable), "harnet10")
    with pytest.raises(HarnetError, match="folds 7"):
        Probe(ProbeConfig(separable, folds=7), "harnet5")
