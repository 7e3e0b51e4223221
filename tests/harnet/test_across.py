"""Training on one data set and testing on another: people and classes used, and no leak from the test set."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from harnet.errors import HarnetError
from harnet.evaluation.across import CLASSES, Across
from harnet.evaluation.protocols import PROTOCOLS, ROBUST
from harnet.evaluation.right_angles import right_angles
from harnet.evaluation.suite import SuiteConfig, evaluate
from launch.cli import main
from tests.harnet.test_evaluation import SHORT, make_weights

HERTZ = {"still": 0.0, "walk": 1.5, "run": 4.0, "stairs": 0.7}
PAIR = Across("home", "lab")
AS_RECORDED = Across("home", "lab", rotated=False)


def made(data: Path, folder: str, name: str, labels: list[str], people: int = 4) -> None:
    """A folder in the format of `harnet dataset`, with windows that look like the class of their label."""
    place = {label: one for one, several in CLASSES[name].items() for label in several}
    random, seconds = np.random.default_rng(0), np.arange(150) / 30
    x, y, pid = [], [], []
    for person in range(people):
        for label in labels * 3:
            hertz = HERTZ.get(place.get(label, "still"), 0.0)
            signal = 0.02 * random.standard_normal((3, 150)) + np.array([[0.0], [0.0], [1.0]])
            signal[0] += (hertz > 0) * 0.4 * np.sin(2 * np.pi * (hertz * seconds + random.random()))
            x.append(signal)
            y.append(label)
            pid.append(f"P{person}")
    (data / folder).mkdir(parents=True)
    for file, rows in (("X", np.array(x, np.float32)), ("Y", np.array(y)), ("pid", np.array(pid))):
        np.save(data / folder / f"{file}.npy", rows)
    facts = {"name": name, "device": f"{name} watch", "licence": "none"}
    (data / folder / "dataset.json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("labelled")
    made(folder, "home", "selfback", ["walk_slow", "walk_fast", "jogging", "lying", "upstairs"])
    made(folder, "lab", "dsads", ["walking in parking lot", "running treadmill 8 km/h", "sitting", "rowing"], people=3)
    return folder


def test_classes_are_those_that_both_have_and_people_are_told_apart(data: Path) -> None:
    found = PAIR.read(data, "harnet5")
    assert found.classes == ("run", "still", "walk"), "the lab has no stairs, and rowing is in no class"
    assert sorted(set(found.people.tolist())) == [*(f"home:P{n}" for n in range(4)), *(f"lab:P{n}" for n in range(3))]
    home, lab = (found.labels[np.char.startswith(found.people, name)] for name in ("home", "lab"))
    assert np.bincount(home).tolist() == [12, 12, 24], "both walks are one class"
    assert np.bincount(lab).tolist() == [9, 9, 9]


def test_training_windows_are_rotated_and_those_tested_are_not(data: Path) -> None:
    rotated, recorded = PAIR.read(data, "harnet5"), AS_RECORDED.read(data, "harnet5")
    home = np.char.startswith(rotated.people, "home:")
    whole = np.load(data / "home" / "X.npy")
    assert np.array_equal(recorded.windows[0], whole[0])
    assert np.array_equal(rotated.windows[~home], recorded.windows[~home])
    assert np.array_equal(rotated.labels, recorded.labels)
    before, after = (np.sort(np.linalg.norm(each.windows[home], axis=1)) for each in (recorded, rotated))
    np.testing.assert_allclose(after, before, rtol=1e-5)
    unchanged = (rotated.windows[home] == recorded.windows[home]).all(axis=(1, 2)).mean()
    assert unchanged < 0.3, "one in 24 is rotated by nothing"
    assert np.array_equal(rotated.windows, PAIR.read(data, "harnet5").windows)
    assert rotated.digest != recorded.digest


def test_there_are_24_rotations_by_right_angles() -> None:
    rotations = right_angles()
    assert len({rotation.tobytes() for rotation in rotations}) == 24
    np.testing.assert_allclose(np.linalg.det(rotations), 1)


def test_a_classifier_of_rotated_windows_knows_a_device_that_is_worn_another_way_round(
    data: Path, tmp_path: Path
) -> None:
    shutil.copytree(data, tmp_path / "labelled")
    path = tmp_path / "labelled" / "lab" / "X.npy"
    np.save(path, np.load(path)[:, [2, 0, 1]])
    config = SuiteConfig(
        make_weights(tmp_path / "weights"), tmp_path / "rotated", tmp_path / "labelled", train_on="home", test_on="lab",
        seeds=1, arms=("handmade-linear",),
    )  # fmt: skip
    scores = []
    for one in (config, replace(config, rotation="none", out=tmp_path / "none")):
        results = evaluate(one)
        assert results is not None
        scores.append(results["tables"][0]["arms"][0]["macro_f1"]["mean"])
    assert scores[0] > scores[1] + 0.1, scores
    with pytest.raises(HarnetError, match="holds results of other windows of home-to-lab"):
        evaluate(replace(config, rotation="none"))


def test_everybody_of_the_second_is_tested_and_nobody_else(data: Path) -> None:
    split = PAIR.split(PAIR.read(data, "harnet5"))
    assert split.test == ("lab:P0", "lab:P1", "lab:P2")
    assert len(split.validation) == 1
    assert {*split.train, *split.validation} == {f"home:P{n}" for n in range(4)}


def test_the_suite_across_data_sets(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PROTOCOLS, "robust", replace(ROBUST, recipe=SHORT, trees=25))
    out = tmp_path / "results"
    arguments = ["evaluate", "--train-on", "home", "--test-on", "lab", "--weights", make_weights(tmp_path / "weights")]
    arguments += ["--data", str(data), "--out", str(out), "--seeds", "1", "--label-people", "2"]
    assert main([*arguments, "--arms", "forest", "handmade-linear", "frozen-linear", "fine-tuned"]) == 0
    assert "home-to-lab, robust protocol" in capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    table, few = results["tables"]
    assert few["budget"] == "people-2"
    for row in table["arms"]:
        assert set(row["people"]) == {"lab:P0", "lab:P1", "lab:P2"}
        assert row["macro_f1"]["people"] == 3
    assert {row["arm"]: row["macro_f1"]["mean"] for row in table["arms"]}["handmade-linear"] > 0.9
    facts = results["settings"]["data"]["home-to-lab"]
    assert facts["described"]["device"] == "selfback watch → dsads watch"
    assert facts["folds_from"] == "everybody of lab"
    assert main(["report", str(out), "--data", str(data)]) == 0


def test_what_cannot_be_compared_is_named(data: Path, tmp_path: Path) -> None:
    config = SuiteConfig(make_weights(tmp_path / "weights"), tmp_path / "out", data, train_on="home", test_on="lab")
    with pytest.raises(HarnetError, match="no data set 'moon'; available: home, lab"):
        evaluate(replace(config, test_on="moon"))
    with pytest.raises(HarnetError, match="rotation 'any': not known; of: right-angles, none"):
        replace(config, rotation="any")
    for one, other in (("home", ""), ("home", "home")):
        with pytest.raises(HarnetError, match="two data sets, or neither"):
            replace(config, train_on=one, test_on=other)
    other = tmp_path / "labelled"
    made(other, "home", "selfback", ["walk_slow", "jogging"])
    made(other, "lab", "dsads", ["running treadmill 8 km/h", "rowing"])
    with pytest.raises(HarnetError, match="home and lab have 1 classes in common"):
        Across("home", "lab").read(other, "harnet5")
    (other / "lab" / "dataset.json").write_text('{"name": "moon"}')
    with pytest.raises(HarnetError, match="no class mapping for data set 'moon'; known: selfback, dsads"):
        Across("home", "lab").read(other, "harnet5")


def test_every_label_of_the_table_is_one_of_the_data_set() -> None:
    from harnet.datasets import dsads, pamap2, realworld, selfback, wisdm

    known = {
        "selfback": selfback.ACTIVITIES,
        "dsads": dsads.ACTIVITIES,
        "realworld": realworld.ACTIVITIES,
        "wisdm": tuple(wisdm.ACTIVITIES.values()),
        "pamap2": tuple(pamap2.ACTIVITIES.values()),
    }
    for name, classes in CLASSES.items():
        labels = [label for several in classes.values() for label in several]
        assert len(set(labels)) == len(labels)
        assert set(labels) <= set(known[name]), name
