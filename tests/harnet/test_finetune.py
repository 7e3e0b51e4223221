"""Fine-tuning learns, is repeatable, resumes where it stopped, and leaves a frozen encoder unchanged."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from harnet.errors import HarnetError
from harnet.heads import ClassifierModel, PretextModel
from harnet.transfer.classifier_fit import TrainingConfig, fit_classifier, predict
from harnet.transfer.finetune import FinetuneConfig, finetune
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.load import load_classifier
from launch.cli import main

TRAINING = TrainingConfig(epochs=3, batch_size=8, encoder_learning_rate=1e-3, threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three people who shake a wrist slowly or fast, each with their own strength and orientation."""
    folder, random = tmp_path_factory.mktemp("labelled"), np.random.default_rng(0)
    seconds = np.arange(150) / 30
    windows, labels, people = [], [], []
    for person in range(3):
        gravity = random.standard_normal(3)
        for number in range(16):
            label = ("slow", "fast")[number % 2]
            phase = 2 * np.pi * (seconds * (1.0 if label == "slow" else 4.0) + random.random())
            x = 0.05 * random.standard_normal((3, 150)) + (gravity / np.linalg.norm(gravity))[:, None]
            x[number % 3] += random.uniform(0.2, 0.4) * np.sin(phase)
            windows.append(x)
            labels.append(label)
            people.append(f"P{person}")
    for name, rows in (("X", windows), ("Y", labels), ("pid", people)):
        np.save(folder / f"{name}.npy", np.array(rows))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PretextModel("harnet5", standardise=True)
    config = BundleConfig("harnet5", 5, "standardised window", provenance={"people": 9}, data_use_terms="research")
    return str(save(tmp_path_factory.mktemp("weights") / "bundle", model.state_dict(), config))


def test_it_learns_and_saves_a_model(data: Path, weights: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    results = finetune(FinetuneConfig(data, out, replace(TRAINING, epochs=6), weights, folds=2))
    outcome = results["arms"]["fine-tuned"]
    assert outcome["summary"]["macro_f1"] > 0.9
    assert {person["person"] for person in outcome["people"]} == {"P0", "P1", "P2"}
    assert np.sum(outcome["confusion"]) == 48
    assert json.loads((out / "results.json").read_text()) == results

    model, classes = load_classifier(out / "model")
    truth = np.load(data / "Y.npy")
    predicted = np.array(classes)[predict(model, np.load(data / "X.npy").astype(np.float32))]
    assert (predicted == truth).mean() > 0.9
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["data_use_terms"] == "research"
    assert config["provenance"]["fine-tuning"]["people"] == 3
    assert "P0" not in json.dumps(config)


def test_a_stopped_run_continues_to_the_same_results(
    data: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = FinetuneConfig(data, tmp_path / "whole", replace(TRAINING, epochs=1), weights, folds=3, final_model=False)
    whole = finetune(config)
    stopped = replace(config, out=tmp_path / "stopped")

    fits: list[int] = []

    def stop_in_the_third_fold(*arguments: object, **options: object) -> None:
        fits.append(1)
        if len(fits) == 3:
            raise KeyboardInterrupt
        fit_classifier(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("harnet.transfer.finetune.fit_classifier", stop_in_the_third_fold)
    with pytest.raises(KeyboardInterrupt):
        finetune(stopped)
    assert not (stopped.out / "results.json").exists()
    assert finetune(stopped) == whole
    assert len(fits) == 4, "only the unfinished fold is trained again"


def test_a_folder_of_other_settings_or_files_is_refused(data: Path, weights: str, tmp_path: Path) -> None:
    frozen = replace(TRAINING, epochs=1, freeze_encoder=True)
    config = FinetuneConfig(data, tmp_path / "out", frozen, weights, folds=2, final_model=False)
    finetune(config)
    with pytest.raises(HarnetError, match=r"other settings \(training differ"):
        finetune(replace(config, training=replace(frozen, weight_decay=0.1)))
    with pytest.raises(HarnetError, match="files other than fine-tuning results"):
        finetune(replace(config, out=data))


def test_a_frozen_encoder_does_not_move() -> None:
    random = np.random.default_rng(0)
    windows = random.standard_normal((16, 3, 150)).astype(np.float32)
    model = ClassifierModel("harnet5", 2, standardise=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit_classifier(model, windows, np.arange(16) % 2, replace(TRAINING, epochs=1, freeze_encoder=True), seed=0)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("feature_extractor."), name


def test_balanced_classes_weigh_the_rare_one_as_much() -> None:
    """With nothing to learn, balanced training gives classes equal probability, unbalanced training their frequency."""
    windows, labels = np.zeros((20, 3, 150), np.float32), np.array([0] * 18 + [1, 1])
    chances = {}
    for balance in (True, False):
        torch.manual_seed(0)
        model = ClassifierModel("harnet5", 2)
        training = TrainingConfig(epochs=150, batch_size=20, balance_classes=balance, freeze_encoder=True)
        fit_classifier(model, windows, labels, training, seed=0)
        with torch.no_grad():
            chances[balance] = model(torch.zeros(1, 3, 150)).softmax(dim=1)[0, 1].item()
    assert chances[True] == pytest.approx(0.5, abs=0.05)
    assert chances[False] == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"architecture": None}, "needs a model"),
        ({"compare_scratch": True}, "compare_scratch needs weights"),
        ({"training": TrainingConfig(freeze_encoder=True)}, "freeze_encoder needs weights"),
    ],
)
def test_contradicting_options_are_refused(options: dict[str, object], said: str) -> None:
    base = FinetuneConfig(Path("data"), Path("out"), TRAINING, architecture="harnet5")
    with pytest.raises(HarnetError, match=said):
        replace(base, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"epochs": 0}, {"warmup": 1.0}, {"seed": -1}, {"trained_stages": 0}, {"layer_decay": 1.5}]
)
def test_a_recipe_that_cannot_work_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(HarnetError, match=next(iter(wrong))):
        TrainingConfig(**wrong)  # type: ignore[arg-type]


def test_the_command_prints_a_summary_without_names(
    data: Path, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["finetune", str(data), "--weights", weights, "--out", str(tmp_path / "out"), "--folds", "2"]
    arguments += ["--freeze-encoder", "--epochs", "2", "--no-final-model", "--threads", "1"]
    assert main([*arguments, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["arms"]["frozen"]["people"] == 3
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "mean ± sd over 3 people" in printed.out
    assert "P1" not in printed.out + printed.err
    assert main(["finetune", str(tmp_path), "--weights", weights, "--out", str(tmp_path / "other")]) == 1
    assert "X.npy: missing" in capsys.readouterr().err


def noise(count: int) -> tuple[np.ndarray, np.ndarray]:
    windows = np.random.default_rng(0).standard_normal((count, 3, 150)).astype(np.float32)
    return windows, np.arange(count) % 2


@pytest.mark.parametrize("trained", [1, 3])
def test_only_the_last_stages_move_and_their_statistics(trained: int) -> None:
    model = ClassifierModel("harnet5", 2, standardise=True, width=8)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fit_classifier(model, *noise(16), replace(TRAINING, epochs=1, trained_stages=trained), seed=0)
    still = tuple(f"feature_extractor.layer{number}." for number in range(1, 6 - trained))
    for name, tensor in model.state_dict().items():
        moves = not name.startswith(still) and not name.endswith("kernel")
        assert torch.equal(tensor, before[name]) != moves, name
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_lower_layer_decay_moves_the_first_stage_less_and_the_last_as_much() -> None:
    moved = {}
    for decay in (1.0, 0.1):
        torch.manual_seed(0)
        model = ClassifierModel("harnet5", 2, standardise=True, width=8)
        first, last = (getattr(model.feature_extractor, f"layer{number}")[0].weight for number in (1, 5))
        before = [first.detach().clone(), last.detach().clone()]
        one_step = replace(TRAINING, epochs=1, batch_size=16, layer_decay=decay, warmup=0.0, weight_decay=0.0)
        fit_classifier(model, *noise(16), one_step, seed=0)
        moved[decay] = [(now - then).abs().max().item() for now, then in zip((first, last), before, strict=True)]
    assert moved[0.1][0] == pytest.approx(1e-4 * moved[1.0][0], rel=0.3), "float32 has few digits left"
    assert moved[0.1][1] == pytest.approx(moved[1.0][1], rel=0.05)


def test_early_stopping_goes_back_to_the_best_and_takes_the_least_number_of_steps() -> None:
    """Random labels cannot be learnt: on other random labels the loss only rises."""
    windows, labels = noise(32)
    training = replace(TRAINING, epochs=30, encoder_learning_rate=3e-3, patience=2)
    losses = {}
    for name, config in {"stopped": training, "later": replace(training, min_steps=40)}.items():
        torch.manual_seed(0)
        model, steps = ClassifierModel("harnet5", 2, standardise=True, width=8), []
        best = fit_classifier(
            model,
            windows[:16],
            labels[:16],
            config,
            0,
            lambda: steps.append(1),  # noqa: B023
            (windows[16:], labels[16:]),
        )
        assert len(steps) == config.steps(16), "the progress bar is filled"
        with torch.no_grad():
            logits = model(torch.from_numpy(windows[16:]))
        losses[name] = (best, torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[16:])).item())
    assert losses["stopped"][0] < 60
    assert losses["later"][1] <= losses["stopped"][1]


def test_people_set_aside_are_not_those_who_are_tested(data: Path, weights: str, tmp_path: Path) -> None:
    config = FinetuneConfig(data, tmp_path / "out", replace(TRAINING, patience=1), weights, final_model=False)
    found = finetune(config)
    assert found["arms"]["fine-tuned"]["summary"]["people"] == 3
    fold = json.loads((tmp_path / "out" / "folds" / "fine-tuned-0.json").read_text())
    assert 0 < fold["steps"] <= TRAINING.steps(16)
    with pytest.raises(HarnetError, match="only one training person"):
        finetune(replace(config, out=tmp_path / "other", folds=2, data=two_people(data, tmp_path / "two")))


def two_people(data: Path, folder: Path) -> Path:
    folder.mkdir()
    chosen = np.load(data / "pid.npy") != "P2"
    for name in ("X", "Y", "pid"):
        np.save(folder / f"{name}.npy", np.load(data / f"{name}.npy")[chosen])
    return folder
