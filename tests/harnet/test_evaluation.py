"""The evaluation suite: all arms, people held out, identical results after resuming, open about unfinished parts."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from harnet.errors import HarnetError
from harnet.evaluation import suite, suite_context
from harnet.evaluation.arms import ARMS, FUSED, LINEAR, QUESTIONS, train_arm
from harnet.evaluation.protocols import PROTOCOLS, PUBLISHED, ROBUST
from harnet.evaluation.splits import Split
from harnet.evaluation.suite import SuiteConfig, evaluate
from harnet.evaluation.trials import Budget, Trial, choose_rows, run_piece
from harnet.heads import ClassifierModel, PretextModel
from harnet.transfer.supervised_loop import LabelledInputs
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.load import Bundle
from launch.cli import main

SHORT = replace(ROBUST.recipe, epochs=1, least_total=14, least_steps=8, batch_size=8)
ROBUST_SHORT = replace(ROBUST, recipe=SHORT, trees=25)
PUBLISHED_SHORT = replace(PUBLISHED, recipe=replace(PUBLISHED.recipe, epochs=4), trees=25)


def make_labelled(folder: Path, people: int = 3, windows: int = 12) -> Path:
    random, seconds = np.random.default_rng(0), np.arange(150) / 30
    x, y, pid = [], [], []
    for person in range(people):
        for number in range(windows):
            label = ("slow", "fast", "still")[number % 3]
            signal = 0.02 * random.standard_normal((3, 150)) + np.array([[0.0], [0.1 * person], [1.0]])
            if label != "still":
                hertz = 1.0 if label == "slow" else 4.0
                signal[number % 2] += random.uniform(0.3, 0.5) * np.sin(2 * np.pi * (hertz * seconds + random.random()))
            x.append(signal)
            y.append(label)
            pid.append(f"P{person}")
    folder.mkdir(parents=True)
    for name, rows in (("X", np.array(x, np.float32)), ("Y", np.array(y)), ("pid", np.array(pid))):
        np.save(folder / f"{name}.npy", rows)
    return folder


def make_weights(folder: Path, seed: int = 0) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PretextModel("harnet5", standardise=True, width=8)
    config = BundleConfig("harnet5", 5, "standardised window", width=8, provenance={"objective": "none"})
    return str(save(folder, model.state_dict(), config))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_weights(tmp_path_factory.mktemp("weights") / "bundle")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_labelled(tmp_path_factory.mktemp("data") / "tiny").parent


@pytest.fixture(scope="module", autouse=True)
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, "robust", ROBUST_SHORT)
        patch.setitem(PROTOCOLS, "published", PUBLISHED_SHORT)
        yield


@pytest.fixture
def config(labelled: Path, weights: str, tmp_path: Path) -> SuiteConfig:
    return SuiteConfig(weights, tmp_path / "results", labelled, seeds=1)


@pytest.fixture(scope="module")
def finished(
    labelled: Path, weights: str, short: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Folder and results of an undisturbed suite in one process. Read-only: tests that change it copy the folder."""
    out = tmp_path_factory.mktemp("finished") / "results"
    results = evaluate(SuiteConfig(weights, out, labelled, seeds=1))
    assert results is not None
    return out, results


def test_all_arms_with_intervals_and_paired_differences(config: SuiteConfig) -> None:
    results = evaluate(replace(config, seeds=2))
    (table,) = results["tables"]
    assert [row["arm"] for row in table["arms"]] == list(ARMS)
    forest = table["arms"][0]
    assert forest["macro_f1"]["mean"] > 0.8, "the forest learns slow, fast and still"
    linear = {row["arm"]: row["macro_f1"]["mean"] for row in table["arms"] if row["arm"] in LINEAR}
    assert min(linear.values()) > 0.8, "so does logistic regression on any features"
    for row in table["arms"]:
        assert row["macro_f1"]["people"] == 3
        assert np.sum(row["confusion"]) == 2 * 36, "each window once a seed"
        assert row["macro_f1"]["low"] <= row["macro_f1"]["mean"] <= row["macro_f1"]["high"]
        assert row["macro_f1"]["mean"] == pytest.approx(np.mean(list(row["people"].values())))
    pairs = {(row["one"], row["other"]) for row in table["differences"] if row["metric"] == "macro_f1"}
    assert len(pairs) == len(ARMS) * (len(ARMS) - 1) / 2
    assert set(QUESTIONS) <= pairs
    means = {row["arm"]: row["macro_f1"]["mean"] for row in table["arms"]}
    for row in table["differences"]:
        if row["metric"] == "macro_f1":
            assert row["mean"] == pytest.approx(means[row["one"]] - means[row["other"]])
    assert any("3 people: percentile intervals" in note for note in table["notes"])
    with (config.out / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(ARMS) * 3 * 2
    with (config.out / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["macro_f1"]) == forest["macro_f1"]["mean"]
    assert json.loads((config.out / "results.json").read_text()) == results


def test_a_stopped_suite_continues_to_the_same_numbers(
    config: SuiteConfig, finished: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = replace(config, out=config.out.with_name("stopped"))
    done: list[Trial] = []

    def stop_after_five(piece: Trial, *rest: object) -> None:
        if len(done) == 5:
            raise KeyboardInterrupt
        run_piece(piece, *rest)  # type: ignore[arg-type]
        done.append(piece)

    monkeypatch.setattr(suite, "run_piece", stop_after_five)
    with pytest.raises(KeyboardInterrupt):
        evaluate(stopped)
    monkeypatch.setattr(suite, "run_piece", run_piece)
    pieces = sorted(stopped.out.rglob("seed*.json"))
    assert len(pieces) == 5
    times = [path.stat().st_mtime_ns for path in pieces]
    assert evaluate(stopped) == finished[1]
    assert [path.stat().st_mtime_ns for path in pieces] == times, "a finished piece is not done again"


def test_what_is_not_pretrained_does_not_depend_on_the_weights(
    config: SuiteConfig, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    other = replace(config, weights=make_weights(tmp_path / "other", seed=1), out=tmp_path / "others")
    evaluate(other)
    for arm in ARMS:
        one, same = ([json.loads(path.read_text()) for path in sorted(out.glob(f"pieces/tiny/robust/{arm}/*.json"))]
                     for out in (finished[0], other.out))  # fmt: skip
        assert len(one) == 3
        if not arm.startswith(("frozen", "fine-tuned")):
            assert one == same
    features = (np.load(out / "features" / "tiny-stages.npy") for out in (finished[0], other.out))
    assert not np.array_equal(*features), "the weights differ"


def test_more_seeds_are_added_and_other_weights_or_data_refused(
    config: SuiteConfig, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], config.out)
    assert evaluate(replace(config, seeds=2))["tables"][0]["arms"][0]["seeds"] == 2
    other = make_weights(tmp_path / "other", seed=1)
    with pytest.raises(HarnetError, match=r"other settings \(weights differ"):
        evaluate(replace(config, weights=other))
    elsewhere = make_labelled(tmp_path / "data" / "tiny", windows=9).parent
    with pytest.raises(HarnetError, match="other windows of tiny"):
        evaluate(replace(config, data=elsewhere))
    with pytest.raises(HarnetError, match="files other than evaluation results"):
        evaluate(replace(config, out=config.data))
    (path,) = config.out.glob("pieces/tiny/robust/forest/seed0-fold0.json")
    path.write_text("{")
    with pytest.raises(HarnetError, match="delete it and run the same command"):
        evaluate(config)


def test_arms_may_be_chosen_and_added_later(config: SuiteConfig) -> None:
    some = evaluate(replace(config, arms=("forest", "frozen-linear")))
    assert [row["arm"] for row in some["tables"][0]["arms"]] == ["forest", "frozen-linear"]
    assert not any("Unfinished" in note for note in some["tables"][0]["notes"])
    more = evaluate(replace(config, arms=("handmade-linear",)))
    assert [row["arm"] for row in more["tables"][0]["arms"]] == ["forest", "handmade-linear", "frozen-linear"]


@pytest.mark.parametrize("part", ["frozen-linear", "scratch"])
def test_a_fused_arm_averages_the_log_probabilities_of_its_parts(
    config: SuiteConfig, finished: tuple[Path, dict[str, Any]], part: str
) -> None:
    fused = {part: arm for arm, part in FUSED.items()}[part]
    results = evaluate(replace(config, arms=(fused,)))
    assert {row["arm"] for row in results["tables"][0]["arms"]} == {"handmade-linear", part, fused}
    one, other, both = (
        np.load(config.out / f"pieces/tiny/robust/{arm}/seed0-fold0.npy") for arm in ("handmade-linear", part, fused)
    )
    assert one.shape == (12, 3)
    np.testing.assert_allclose(np.exp(one).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.exp(other).sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(both, (one + other) / 2, rtol=1e-6)
    scored = (config.out / f"pieces/tiny/robust/{fused}/seed0-fold0.json").read_text()
    assert np.array(json.loads(scored)["people"][0]["confusion"]).sum(axis=0).tolist() == [
        int((both.argmax(axis=1) == label).sum()) for label in range(3)
    ]


def test_pieces_without_predictions_are_run_again(config: SuiteConfig, finished: tuple[Path, dict[str, Any]]) -> None:
    shutil.copytree(finished[0], config.out)
    for path in config.out.glob("pieces/tiny/robust/*/*.npy"):
        path.unlink()
    assert evaluate(replace(config, arms=("frozen-fused",))) == finished[1]
    assert len(list(config.out.glob("pieces/tiny/robust/*/*.npy"))) == 3 * 3


def test_processes_give_the_same_numbers(config: SuiteConfig, finished: tuple[Path, dict[str, Any]]) -> None:
    assert evaluate(replace(config, workers=2)) == finished[1]


def test_parts_of_an_array_give_the_same_tables(
    config: SuiteConfig, finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    parts = replace(config, out=tmp_path / "parts")
    for part in ("2/2", "1/2"):
        assert evaluate(replace(parts, part=part)) is None
    assert not (parts.out / "results.json").exists()
    before = {path: path.stat().st_mtime_ns for path in (parts.out / "pieces").rglob("*.json")}
    assert {str(path.relative_to(parts.out)) for path in before} == set(suite.piece_names(parts))
    evaluate(parts)
    after = {path: path.stat().st_mtime_ns for path in (parts.out / "pieces").rglob("*.json")}
    assert before.items() <= after.items(), "nothing is run again"
    assert {path.parent.name for path in after.keys() - before.keys()} == set(FUSED), "the last command fuses"
    assert finished[1]["tables"] == json.loads((parts.out / "results.json").read_text())["tables"]


def test_fewer_labels_and_both_protocols(config: SuiteConfig) -> None:
    results = evaluate(replace(config, protocol=("robust", "published"), label_people=(1,), label_windows=(0.25,)))
    found = [(table["protocol"], table["budget"]) for table in results["tables"]]
    assert found == [
        ("robust", "all"), ("robust", "people-1"), ("robust", "windows-0.25"),
        ("published", "all"),
    ]  # fmt: skip
    notes = " ".join(results["tables"][-1]["notes"])
    assert "From scratch: a median of" in notes


def test_points_of_the_curve_alone(config: SuiteConfig) -> None:
    results = evaluate(replace(config, arms=("untrained-linear",), label_people=(1,), all_labels=False))
    assert results is not None
    assert [table["budget"] for table in results["tables"]] == ["people-1"]


def test_an_untrained_encoder_is_applied_once_for_a_fold_and_seed(
    config: SuiteConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    real = suite_context.draw_classifier

    def watch(bundle: Bundle, classes: int, seed: int) -> ClassifierModel:
        drawn.append(seed)
        return real(bundle, classes, seed)

    monkeypatch.setattr(suite_context, "draw_classifier", watch)
    arms = ("untrained", "untrained-linear", "untrained-handmade")
    evaluate(replace(config, arms=arms, label_people=(1,), seeds=2))
    assert len(drawn) == len(set(drawn)) == 3 * 2


def test_the_people_of_a_small_budget_are_among_those_of_a_larger_one() -> None:
    people = np.repeat(np.array(["a", "b", "c", "d", "e"]), 4)
    split = Split(("a", "b", "c"), ("d",), ("e",))
    before: set[str] = set()
    for count in (1, 2, 4):
        rows = choose_rows(people, split, Trial("x", "robust", "forest", 0, 0, Budget("people", count)))
        chosen = set(people[rows.train].tolist())
        assert len(chosen) == count
        assert before < chosen
        assert "e" not in chosen
        assert not len(rows.validation)
        before = chosen
    rows = choose_rows(people, split, Trial("x", "robust", "forest", 0, 0, Budget("windows", 0.25)))
    assert len(rows.train) == 4
    with pytest.raises(HarnetError, match="only 4 training people"):
        choose_rows(people, split, Trial("x", "robust", "forest", 0, 0, Budget("people", 5)))


def part(random: np.random.Generator, count: int, flipped: bool = False) -> LabelledInputs:
    inputs = torch.from_numpy(random.standard_normal((count, 4)).astype(np.float32))
    targets = (inputs[:, 0] > 0).long()
    return LabelledInputs(inputs, 1 - targets if flipped else targets)


def test_training_stops_after_the_least_steps_and_puts_the_best_back() -> None:
    """Validation people have the labels reversed: every step makes them worse."""
    random = np.random.default_rng(0)
    recipe = replace(SHORT, least_total=400, least_steps=60, patience=3, cosine=False, head_learning_rate=1e-2)
    torch.manual_seed(0)
    network = nn.Linear(4, 2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    done = train_arm(network, [(network, 1e-2)], part(random, 64), part(random, 32, True), 2, recipe, 0, "cpu")
    assert done.kept == 10, "the first look is the best"
    assert done.steps == 80, "the third look without progress from step 60 on"
    assert done.steps_per_epoch == 8
    assert not torch.equal(network.state_dict()["weight"], before["weight"])
    again = nn.Linear(4, 2)
    again.load_state_dict(before)
    train_arm(again, [(again, 1e-2)], part(np.random.default_rng(0), 64), None, 2,
        replace(recipe, least_steps=10, epochs=1), 0, "cpu")  # fmt: skip
    assert not torch.equal(again.weight, network.weight), "without validation the last step stays, not step 10"


def test_the_published_recipe_gives_up_early_where_nothing_is_learnt() -> None:
    random = np.random.default_rng(0)
    recipe = PUBLISHED.recipe
    network = nn.Linear(4, 2)
    done = train_arm(network, [(network, 1e-1)], part(random, 480), part(random, 80, True), 2, recipe, 0, "cpu")
    assert done.steps_per_epoch == 6
    assert done.steps == 36, "a first look, and five without progress"


def test_a_class_that_only_the_validation_person_did_does_not_decide() -> None:
    """Three classes, the third unknown to the training people: on its own it would make every step look worse."""
    random = np.random.default_rng(0)
    held = part(random, 32)
    odd = LabelledInputs(torch.cat([held.inputs, held.inputs]), torch.cat([held.targets, torch.full((32,), 2)]))
    kept = []
    for validation in (held, odd):
        torch.manual_seed(0)
        network = nn.Linear(4, 3)
        recipe = replace(SHORT, least_total=100, least_steps=10, cosine=False)
        kept.append(
            train_arm(network, [(network, 1e-2)], part(np.random.default_rng(1), 64), validation, 3, recipe, 0, "cpu")
        )
    assert kept[0] == kept[1]
    assert kept[0].kept > 50


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seeds": 0}, "must be 1 or more"),
        ({"label_people": (0,)}, "label-people 0"),
        ({"label_windows": (1.5,)}, "label-windows 1.5"),
        ({"all_labels": False}, "no-all-labels: needs points"),
        ({"protocol": ("best",)}, "protocol 'best'"),
        ({"arms": ("forest", "magic")}, "arms 'magic'"),
    ],
)
def test_wrong_settings_are_named(config: SuiteConfig, change: dict[str, object], says: str) -> None:
    with pytest.raises(HarnetError, match=says):
        replace(config, **change)  # type: ignore[arg-type]


def test_the_command(config: SuiteConfig, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["evaluate", "--suite", "here", "--weights", config.weights, "--out", str(config.out)]
    arguments += ["--data", str(config.data), "--seeds", "1"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert "tiny, robust protocol" in shown
    assert "fine-tuned - forest" in shown
    assert "P0" not in shown
    assert main([*arguments, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["tables"][0]["arms"]) == set(ARMS)
    assert main([*arguments[:-2], "--suite", "nonsense"]) == 1
    assert "no data set 'nonsense'; available: tiny" in capsys.readouterr().err
    assert main([*arguments[:7], "--data", str(tmp_path)]) == 1
    assert "no folder with X.npy" in capsys.readouterr().err


def test_the_tested_person_never_reaches_the_training(
    config: SuiteConfig, monkeypatch: pytest.MonkeyPatch, labelled: Path
) -> None:
    """Every window used for fitting or early stopping belongs to a person who is not tested."""
    people = np.load(labelled / "tiny" / "pid.npy")
    seen: list[Trial] = []

    def watch(piece: Trial, inputs: object, split: Split, *rest: object) -> None:
        rows = choose_rows(people, split, piece)
        tested = set(people[rows.test].tolist())
        learnt = set(people[np.concatenate([rows.train, rows.validation])].tolist())
        assert not tested & learnt
        assert tested | learnt == set(people.tolist())
        seen.append(piece)
        run_piece(piece, inputs, split, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(suite, "run_piece", watch)
    evaluate(config)
    assert len(seen) == 3 * (len(ARMS) - len(FUSED))
