import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from harnet.errors import HarnetError
from harnet.evaluation import drawing, feature_map
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.load import build_encoder, read_bundle

pytestmark = [
    pytest.mark.skipif(find_spec("umap") is None, reason="needs umap: pip install 'harnet[interpret]'"),
    pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning"),
]


def clusters(each: int) -> NDArray[np.float32]:
    """Two clusters in 16 dimensions, one after the other, ten standard deviations apart."""
    random = np.random.default_rng(0)
    return (random.standard_normal((2 * each, 16)) + np.repeat([[0.0], [2.5]], each, axis=0)).astype(np.float32)


def test_clusters_stay_apart_and_a_seed_repeats() -> None:
    found = clusters(40)
    places = feature_map.place(found, neighbours=10, seed=3)
    assert places.shape == (80, 2)
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    nearest = np.argsort(distances, axis=1)[:, :5]
    assert (nearest // 40 == np.arange(80)[:, None] // 40).mean() == 1
    np.testing.assert_array_equal(places, feature_map.place(found, neighbours=10, seed=3))
    assert not np.array_equal(places, feature_map.place(found, neighbours=10, seed=4))


def test_agreement_is_with_other_people_and_beside_chance() -> None:
    # Windows cluster by person; the activity is in the first feature, and much weaker.
    activity, person = ["walk", "sit"] * 12, ["a"] * 8 + ["b"] * 8 + ["c"] * 8
    pairs = zip(activity, person, strict=True)
    found = np.array([[name == "walk", 9 * (who == "b"), 9 * (who == "c")] for name, who in pairs])
    share, chance = feature_map.agreement(found.astype(np.float32), activity, person, 4)
    assert (share, chance) == (1.0, 0.5)
    share, _ = feature_map.agreement(found[:, 1:].astype(np.float32), activity, person, 16)
    assert share == 0.5
    # One of three people is the only one with her activity: she agrees with nobody, by chance or otherwise.
    share, chance = feature_map.agreement(np.eye(6, dtype=np.float32), list("xxxxyy"), list("aabbcc"), 2)
    assert chance == pytest.approx(2 / 3 / 2)
    assert share <= 2 / 3
    assert feature_map.agreement(np.eye(3, dtype=np.float32), list("xyx"), list("aaa"), 2) == (0, 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PretextModel("harnet5", width=8)
    return save(
        tmp_path_factory.mktemp("w") / "weights", network.state_dict(), BundleConfig("harnet5", 5, "none", width=8)
    )


def write_windows(folder: Path, count: int, scale: float = 1.0, device: str | None = None) -> Path:
    folder.mkdir()
    random = np.random.default_rng(0)
    windows = random.standard_normal((count, 3, 150)) * 0.2 + np.array([[0], [0], [1]])
    names, people = (
        np.array(["still", "active"])[np.arange(count) % 2],
        np.array(["Anna", "Bert"])[np.arange(count) // 2 % 2],
    )
    for name, rows in (("X", windows * scale), ("Y", names), ("pid", people)):
        np.save(folder / f"{name}.npy", rows)
    if device:
        (folder / "dataset.json").write_text(json.dumps({"device": device}))
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    return feature_map.main()


def test_two_folders_make_a_picture_with_devices_and_without_names_of_people(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [write_windows(tmp_path / "one", 24, device="wrist, 32 Hz"), write_windows(tmp_path / "two", 16)]
    monkeypatch.setattr(drawing, "POINTS", 24)
    picture = tmp_path / "features.svg"
    assert run(monkeypatch, weights, *folders, "--neighbours", 5, "--seed", 7, "--out", picture) == 0
    printed, drawn = capsys.readouterr().out, picture.read_text()
    assert "24 of 40 windows, 4 people; UMAP, 5 neighbours, seed 7" in printed
    for words in ("these weights, by activity", "untrained, by device", "wrist, 32 Hz", "still", "4 people"):
        assert words in drawn
    assert "Anna" not in printed + drawn


def test_a_freshly_drawn_encoder_is_the_same_but_for_its_parameters(weights: Path) -> None:
    bundle = read_bundle(weights)
    before = torch.get_rng_state()
    one, other, again = (feature_map.freshly_drawn(bundle, seed) for seed in (0, 1, 0))
    assert torch.equal(before, torch.get_rng_state())
    trained = build_encoder(bundle)
    assert one.architecture == trained.architecture
    assert one.standardise == trained.standardise
    first = "layer1.0.weight"
    assert torch.equal(one.state_dict()[first], again.state_dict()[first])
    assert not torch.equal(one.state_dict()[first], other.state_dict()[first])


@pytest.mark.parametrize(
    ("count", "scale", "options", "message"),
    [
        (8, 1.0, (), "neighbours 15: must be from 2 to 7 for 8 windows"),
        (8, 1.0, ("--neighbours", 1), "neighbours 1: must be from 2 to 7"),
        (8, 9.80665, (), "divide by 9.80665"),
        (8, 1.0, ("--out", "features.jpg"), "must end in .svg or .png"),
        (8, 1.0, ("--out", "nowhere/features.png"), "the folder nowhere does not exist"),
        (8, 1.0, ("--seed", -1), "--seed -1: must be from 0"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    count: int, scale: float, options: tuple[object, ...], message: str,
) -> None:  # fmt: skip
    folder = write_windows(tmp_path / "labelled", count, scale)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HarnetError, match=message) as found:
        run(monkeypatch, weights, folder, *options)
    assert "\n" not in str(found.value)
    assert not list(tmp_path.glob("*.svg"))


def test_folders_that_are_not_labelled_windows(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnetError, match=r"X\.npy: missing"):
        run(monkeypatch, weights, tmp_path, "--out", tmp_path / "f.png")
    folder = write_windows(tmp_path / "labelled", 8)
    with pytest.raises(HarnetError, match="two folders have the same name"):
        run(monkeypatch, weights, folder, folder, "--out", tmp_path / "f.png")
    (folder / "dataset.json").write_text("{")
    with pytest.raises(HarnetError, match=r"dataset\.json: not JSON"):
        run(monkeypatch, weights, folder, "--out", tmp_path / "f.png")
    with pytest.raises(HarnetError, match="no such folder"):
        run(monkeypatch, tmp_path / "nothing", folder, "--out", tmp_path / "f.png")
