"""What of a run goes into weights: the encoder whole, of the step and of the weights that were asked for."""

import json
from pathlib import Path

import pytest
import torch

import harnet
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS
from harnet.weights.bundle import save
from harnet.weights.config import BundleConfig
from harnet.weights.load import read_bundle
from launch.commands.export import Command, publishable
from pretrain import checkpoint, log, objectives
from pretrain.model import ModelConfig
from pretrain.objectives import Objectives
from tests.pretrain.runs import alone, small


@pytest.mark.parametrize("name", objectives.names())
def test_an_encoder_is_published_without_what_trained_it(name: str, tmp_path: Path) -> None:
    network = objectives.create(Objectives(objective=name), ModelConfig("harnet5", width=8)).build().eval()
    state = publishable(network.state_dict())
    folder = save(tmp_path / "weights", state, BundleConfig("harnet5", 5, "standardised window", width=8))
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    assert torch.equal(harnet.load_encoder(folder)(x), network.get_submodule("feature_extractor")(x))
    heads = {key.split(".")[0] for key in read_bundle(folder).state} - {"feature_extractor"}
    assert heads == (set(PRETEXT_HEADS.values()) if name == "multitask" else set())


@pytest.fixture(scope="module")
def run(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that keeps a moving average and the best of its held-out losses, which was not the last."""
    out = tmp_path_factory.mktemp("export") / "run"
    alone(small(shards, out, {"ema_decay": 0.9}, steps=4, evaluate_every=1, patience=9, checkpoint_every=1, keep=4))
    rows = log.read(out)
    for row in rows:
        if row["kind"] == "heldout":
            row["loss"] = {2: 0.1}.get(row["step"], 5.0 + row["step"])
    (out / log.FILE_NAME).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return out


@pytest.mark.parametrize("best", [False, True])
@pytest.mark.parametrize("average", [False, True])
def test_the_step_and_the_weights_that_were_asked_for_are_exported(
    run: Path, tmp_path: Path, best: bool, average: bool
) -> None:
    assert Command(run, tmp_path / "weights", best=best, average=average).run() == 0
    step = 2 if best else 4
    saved = checkpoint.find(run, step)
    expected = saved.tensors(checkpoint.AVERAGE if average else checkpoint.NETWORK) or {}
    bundle = read_bundle(tmp_path / "weights")
    assert bundle.state
    assert all(torch.equal(tensor, expected[name]) for name, tensor in bundle.state.items())
    assert bundle.config.training_steps == step
    assert bundle.config.provenance.get("moving average with decay") == (0.9 if average else None)
    logged = next(row for row in log.read(run) if row["kind"] == "heldout" and row["step"] == step)
    assert bundle.config.provenance["heldout"]["loss"] == logged["ema/loss" if average else "loss"]
    assert not any(name.startswith("ema/") for name in bundle.config.provenance["heldout"])


def test_what_a_run_does_not_have_is_not_exported(shards: Path, tmp_path: Path) -> None:
    out, weights = tmp_path / "run", tmp_path / "weights"
    alone(small(shards, out, steps=3, evaluate_every=1, checkpoint_every=1))
    with pytest.raises(HarnetError, match="keeps no moving average"):
        Command(out, weights, average=True).run()
    rows = [row | {"loss": float(row["step"])} if row["kind"] == "heldout" else row for row in log.read(out)]
    (out / log.FILE_NAME).write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(HarnetError, match=r"checkpoint of step 1 is not there, only those of 3, 2"):
        Command(out, weights, best=True).run()
    (out / log.FILE_NAME).unlink()
    with pytest.raises(HarnetError, match="no held-out loss in its log"):
        Command(out, weights, best=True).run()
    assert not weights.exists()
