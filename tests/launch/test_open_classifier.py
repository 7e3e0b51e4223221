"""The classifier that comes with harnet: one command fits, measures and writes it, with identical bytes each time."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyarrow import parquet

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from harnet.errors import HarnetError
from harnet.evaluation import activity
from harnet.evaluation.figures_block import refresh
from harnet.heads import PretextModel
from harnet.linear_probe import LinearProbe
from harnet.weights import packaged
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.load import load_classifier, load_encoder
from launch.open_classifier import ENCODER, package

MOVES = {"lying": (0.0, 0.0), "sitting": (0.0, 1.5), "walking": (0.3, 0.8), "stairs": (0.5, 1.2), "running": (1.2, 0.3)}
"""Activity -> strength of the movement in g, and angle of the arm."""
NAMES = {
    "selfback": ("lying", "sitting", "walk_slow", "upstairs", "jogging"),
    "dsads-wrists": ("a03-leftwrist", "a01-rightwrist", "a09-rightwrist", "a05-leftwrist", "a12-leftwrist"),
}


def labelled(folder: Path, people: int = 3) -> Path:
    """Both data sets in small: half a minute of every activity of every person."""
    for name, rate in (("selfback", 100), ("dsads-wrists", 25)):
        (folder / name).mkdir(parents=True)
        for person in range(1, people + 1):
            for place, (strength, angle) in enumerate(MOVES.values()):
                random = np.random.default_rng([person, place, rate])
                time = np.arange(31 * rate) / rate
                moved = strength * np.sin(2 * np.pi * 2 * time) + random.normal(0, 0.02, len(time))
                axes = {"x": moved, "y": np.sin(angle) + moved / 2, "z": np.cos(angle) + moved / 3}
                own = f"{name.split('-')[0]}-p{person}__{NAMES[name][place].replace('_', '-')}.parquet"
                parquet.write_table(pa.table({"time": time, **axes, "label": ["x"] * len(time)}), folder / name / own)
    return folder


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = PretextModel("harnet10", standardise=True, width=8).state_dict()
    return save(tmp_path / "encoder", state, BundleConfig("harnet10", 10, "standardised window", width=8))


def test_fitted_measured_and_written(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "FOLDS", 3)
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- activity-open: begin -->\nold\n<!-- activity-open: end -->\nafter\n")
    data = labelled(tmp_path / "labelled")
    threads = torch.get_num_threads()
    try:
        for name in ("one", "two"):
            package(encoder, data, tmp_path / name, (document,))
    finally:
        torch.set_num_threads(threads)
    files = [sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("one", "two")]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| selfBACK, people left out | " in text
    card = (tmp_path / "one" / activity.NAME / "README.md").read_text()
    assert "over 3 people" in card
    assert "Trained on 6 people. " in card
    assert "Not a medical device" in card
    monkeypatch.setattr(packaged, "FOLDER", tmp_path / "one")
    model, classes = load_classifier(activity.NAME)
    assert classes == activity.CLASSES
    assert isinstance(model, LinearProbe)
    assert load_encoder(activity.NAME).architecture == load_encoder(ENCODER).architecture
    other = BundleConfig("harnet10", 10, "none", width=8)
    save(tmp_path / "one" / ENCODER, PretextModel("harnet10", width=8).state_dict(), other)
    with pytest.raises(HarnetError, match="was fitted to harnet10-open"):
        load_classifier(activity.NAME)


def test_a_missing_data_set_and_a_page_without_a_place_are_named(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "labelled" / "selfback").mkdir(parents=True)
    with pytest.raises(HarnetError, match="selfback"):
        activity.read(tmp_path / "labelled", load_encoder(encoder))
    (tmp_path / "page.md").write_text("nothing\n")
    with pytest.raises(HarnetError, match=r"page\.md: no lines"):
        refresh(tmp_path / "page.md", activity.NAME, ["x"])


def test_every_class_has_labels() -> None:
    for classes in activity.LABELS.values():
        assert set(classes.values()) == set(activity.CLASSES)
