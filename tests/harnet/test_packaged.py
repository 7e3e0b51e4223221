"""The models that come with the package: usable by name wherever weights are accepted, offline, small, documented."""

import json
import socket
import sys
import tomllib
from pathlib import Path

import pytest
import torch

import harnet
from harnet.encoder import ARCHITECTURES
from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.bundle_source import listed_files, open_source, read_checked
from harnet.weights.load import read_bundle
from harnet.weights.packaged import FOLDER, model_names
from launch.cli import main

ROOT = Path(__file__).parents[2]
MOST_BYTES = 12_000_000
"""Limit for all weights in the wheel."""
OPEN = "harnet10-open"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(socket.socket, "connect", refused)


def test_every_file_is_whole_and_all_are_small() -> None:
    size = 0
    for name in model_names():
        source = open_source(name)
        files = listed_files(source)
        size += sum(len(read_checked(source, file)) for file in files)
        config = read_bundle(name).config
        assert config.name == name
        assert config.data_use_terms
        assert {"README.md", "config.json", "model.safetensors"} <= set(files)
    assert 0 < size <= MOST_BYTES


def test_by_name_without_a_network(no_network: None) -> None:
    x = torch.randn(2, 3, 300, generator=torch.Generator().manual_seed(0)) / 10
    encoder = harnet.load_encoder(OPEN)
    assert {p.dtype for p in encoder.parameters()} == {torch.float32}
    width = encoder.architecture.features
    assert encoder(x).shape == (2, width, 1)
    model = harnet.create_model(OPEN, num_classes=5).eval()
    assert model(x).shape == (2, 5)
    same = harnet.create_model("harnet10", num_classes=5, weights=OPEN).eval()
    for found in (model, same):
        assert torch.equal(found.feature_extractor(x), encoder(x))


def test_from_a_checkout_by_torch_hub(no_network: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    x = torch.randn(2, 3, 300, generator=torch.Generator().manual_seed(0)) / 10
    model = torch.hub.load(str(ROOT), "harnet10", source="local", pretrained=True).eval()
    assert torch.equal(model.feature_extractor(x), harnet.load_encoder(OPEN)(x))


def test_what_there_is_is_listed_and_an_unknown_name_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert harnet.list_models() == [*ARCHITECTURES, *model_names()]
    assert main(["inspect"]) == 0
    assert OPEN in capsys.readouterr().out
    for call in (
        lambda: harnet.load_encoder("harnet10-opne"),
        lambda: harnet.create_model("harnet10-opne", num_classes=2),
        lambda: harnet.create_model("harnet10", num_classes=2, weights="harnet10-opne"),
    ):
        with pytest.raises(HarnetError, match=OPEN):
            call()
    with pytest.raises(HarnetError, match="has its own weights"):
        harnet.create_model(OPEN, num_classes=2, weights=OPEN)


def test_a_path_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(OPEN, PretextModel("harnet5", width=8).state_dict(), BundleConfig("harnet5", 5, "none", width=8))
    assert harnet.load_encoder(OPEN).architecture.name == "harnet5"


def test_half_the_size_and_the_same_to_three_digits(tmp_path: Path) -> None:
    state = PretextModel("harnet10", standardise=True, width=32).state_dict()
    whole = save(tmp_path / "whole", state, BundleConfig("harnet10", 10, "standardised window", width=32))
    assert main(["export", str(whole), "--out", str(tmp_path / "half"), "--half"]) == 0
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.51 * sizes[0]
    x = torch.randn(8, 3, 300, generator=torch.Generator().manual_seed(0))
    one, other = (harnet.load_encoder(tmp_path / name).features(x) for name in ("whole", "half"))
    assert 0 < (one - other).abs().max() < 2e-3 * one.abs().max()
    assert json.loads((tmp_path / "half" / "config.json").read_text())["stored"] == "float16"
    state["feature_extractor.layer1.0.weight"] *= 1e6
    with pytest.raises(HarnetError, match="not finite"):
        save(tmp_path / "half", state, BundleConfig("harnet10", 10, "none", width=32, stored="float16"))


def test_the_wheel_is_told_to_carry_them() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["harnet"]
    there = {path for pattern in patterns for path in (ROOT / "harnet").glob(pattern)}
    for name in model_names():
        assert {FOLDER / name / file for file in (*listed_files(open_source(name)), "SHA256SUMS")} <= there
