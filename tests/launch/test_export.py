"""Export for every objective: the whole encoder is exported, and the objective's own layers are left out."""

import json
from pathlib import Path

import pytest
import torch

import harnet
from harnet import run_folder
from harnet.heads import PRETEXT_HEADS, PretextModel
from harnet.run_folder import read_log
from harnet.weights.bundle import save
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.load import read_bundle
from launch.cli import main
from pretrain import objectives
from pretrain.export import publishable
from pretrain.model import ModelConfig
from pretrain.objectives import Objectives
from pretrain.run import checkpoint
from tests.pretrain.runs import alone, small


@pytest.mark.parametrize("name", [*objectives.objective_names(), "context+multitask"])
def test_an_encoder_is_published_without_what_trained_it(name: str, tmp_path: Path) -> None:
    network = objectives.create_objective(Objectives(objective=name), ModelConfig("harnet5", width=8)).build().eval()
    state = publishable(network.state_dict())
    folder = save(tmp_path / "weights", state, BundleConfig("harnet5", 5, "standardised window", width=8))
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    assert torch.equal(harnet.load_encoder(folder)(x), network.get_submodule("feature_extractor")(x))
    heads = {key.split(".")[0] for key in read_bundle(folder).state} - {"feature_extractor"}
    assert heads == (set(PRETEXT_HEADS.values()) if "multitask" in name else set())


def run_with_two_checkpoints(shards: Path, out: Path) -> Path:
    alone(small(shards, out, {"ema_decay": 0.5}, steps=4, evaluate_every=2, checkpoint_every=2))
    return out


def test_a_checkpoint_is_chosen_by_name_by_loss_and_as_a_moving_average(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = run_with_two_checkpoints(shards, tmp_path / "run"), tmp_path / "weights"
    saved = {found.step: found for found in checkpoint.find_all(run)}
    assert sorted(saved) == [2, 4]
    loss = {row["step"]: row for row in read_log(run) if row["kind"] == "heldout"}
    best = min(saved, key=lambda step: loss[step]["loss"])
    average = saved[2].tensors(run_folder.AVERAGE)
    assert average is not None
    expected = {
        ("--which", "last"): saved[4].network(),
        ("--which", "best"): saved[best].network(),
        ("--which", "step-2", "--ema"): average,
    }
    for options, state in expected.items():
        assert main(["export", str(run), "--out", str(out), *options]) == 0
        found = read_bundle(out)
        assert all(torch.equal(tensor, state[name]) for name, tensor in found.state.items())
    assert found.config.provenance["heldout"]["loss"] == loss[2]["ema/loss"]
    assert "moving average" in (out / "README.md").read_text()
    capsys.readouterr()
    assert main(["export", str(run), "--out", str(out), "--which", "step-3"]) == 1
    assert "no complete checkpoint step-3; available: step-2, step-4" in capsys.readouterr().err


def test_an_older_checkpoint_becomes_a_bundle_with_scores_on_its_card(tmp_path: Path) -> None:
    state = PretextModel("harnet5").state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "old.mdl")
    (tmp_path / "adl").mkdir()
    summary = {"macro_f1": 0.5, "macro_f1_std": 0.1, "kappa": 0.4, "people": 7}
    (tmp_path / "adl" / "results.json").write_text(json.dumps({"arms": {"frozen": {"summary": summary}}}))
    options = ["--out", str(tmp_path / "weights"), "--results", str(tmp_path / "adl")]
    assert main(["export", str(tmp_path / "old.mdl"), *options, "--data-use-terms", "academic"]) == 0
    found = read_bundle(tmp_path / "weights")
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.state.items())
    card = (tmp_path / "weights" / "README.md").read_text()
    assert "| adl, frozen | macro F1 0.500 ± 0.100, kappa 0.400 over 7 held-out people |" in card
    assert "an unknown number of people" in card
    assert "old.mdl" in card
