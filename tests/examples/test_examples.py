"""The examples do what they say, by their commands."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harnet.heads import ClassifierModel, PretextModel
from harnet.weights.bundle import BundleConfig, save

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: object, without: tuple[str, ...] = ()) -> str:
    """Standard output of an example, in a process in which some packages cannot be imported."""
    script = ROOT / "examples" / name
    code = (f"import runpy, sys\nfor name in {without!r}: sys.modules[name] = None\n"
            f"sys.path.insert(0, {str(ROOT)!r})\nsys.argv = {[str(script), *map(str, arguments)]!r}\n"
            f"runpy.run_path({str(script)!r}, run_name='__main__')")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ClassifierModel("harnet5", 2, width=8)
    config = BundleConfig("harnet5", 5, "none", width=8, classes=("still", "active"))
    folder = tmp_path_factory.mktemp("model") / "model"
    return save(folder, network.state_dict(), config, formats=("onnx",))


def write_recording(path: Path, minutes: int) -> None:
    """A table at 30 Hz; still and moving by turns, so that it is worn throughout."""
    random, time = np.random.default_rng(0), np.arange(minutes * 60 * 30) / 30
    moving = 0.3 * (np.sin(2 * np.pi * time / 600) > 0) * np.sin(2 * np.pi * 1.5 * time)
    noise = random.normal(0, 0.02, (3, len(time)))
    rows = zip(1_600_000_000 + time, moving + noise[0], noise[1], 1 + noise[2], strict=True)
    path.write_text("time,x,y,z\n" + "\n".join(f"{t:.3f},{x:.3f},{y:.3f},{z:.3f}" for t, x, y, z in rows) + "\n")


def test_an_epidemiologist_gets_minutes_from_device_files(model: Path, tmp_path: Path) -> None:
    write_recording(tmp_path / "P1.csv", minutes=20)
    out = tmp_path / "out"
    printed = run("activity_minutes.py", tmp_path / "P1.csv", "--model", model, "--out", out)
    assert "0 of 1 people have enough wear" in printed
    assert (out / "minutes_a_day.csv").read_text() == "participant,minutes_still,minutes_active\n"
    days = (out / "person_days.csv").read_text().splitlines()
    assert float(days[1].split(",")[2]) == pytest.approx(20, abs=1)


def test_a_methods_person_gets_scores_from_frozen_features(tmp_path: Path) -> None:
    random, time = np.random.default_rng(0), np.arange(150) / 30
    windows, labels, people = [], [], []
    for number in range(60):
        hz = (0.8, 4.0)[number % 2]
        window = random.normal(0, 0.03, (3, 150)) + np.array([[0.0], [0.0], [1.0]])
        window[0] += 0.3 * np.sin(2 * np.pi * (hz * time + random.random()))
        windows.append(window)
        labels.append(("slow", "fast")[number % 2])
        people.append(f"P{number % 6}")
    for name, rows in (("X", windows), ("Y", labels), ("pid", people)):
        np.save(tmp_path / f"{name}.npy", np.array(rows))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PretextModel("harnet5", standardise=True, width=8)
    weights = save(
        tmp_path / "weights", network.state_dict(), BundleConfig("harnet5", 5, "standardised window", width=8)
    )
    printed = run("features_sklearn.py", tmp_path, "--weights", weights, "--folds", 3)
    assert "64 features, 6 people" in printed
    assert float(printed.rsplit(" ", 1)[1]) > 0.9, "random features tell a slow from a fast shake"


@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
def test_a_methods_person_sees_what_a_model_has_learnt(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("captum", "umap"):
        pytest.importorskip(package, reason=f"needs {package}: pip install 'harnet[interpret]'", exc_type=ImportError)
    windows = np.random.default_rng(0).normal(0, 0.3, (24, 3, 150)) + np.array([[0.0], [0.0], [1.0]])
    for name, rows in (("X", windows), ("Y", ["still", "active"] * 12), ("pid", ["P1", "P1", "P2", "P2"] * 6)):
        np.save(tmp_path / f"{name}.npy", np.array(rows))
    out = tmp_path / "pictures"
    # In this process: UMAP is compiled anew in each that uses it, which takes a quarter of a minute.
    arguments = (model, tmp_path, "--window", 3, "--neighbours", 5, "--out", out)
    monkeypatch.setattr("sys.argv", ["x", *map(str, arguments)])
    runpy.run_path(str(ROOT / "examples" / "interpret.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert "untrained: " in printed
    assert "window 3, named " in printed
    assert "was active" in printed
    assert sorted(path.name for path in out.iterdir()) == ["attribution.svg", "features.svg"]


def test_a_product_team_needs_neither_torch_nor_harnet(model: Path, tmp_path: Path) -> None:
    windows = np.random.default_rng(0).normal(0, 0.3, (9, 3, 150)) + np.array([[0.0], [0.0], [1.0]])
    np.save(tmp_path / "windows.npy", windows)
    without = ("torch", "harnet", "safetensors", "zarr")
    printed = run("onnx_on_cpu.py", model, tmp_path / "windows.npy", without=without)
    assert "9 windows in" in printed
    assert sum(int(word.strip(",")) for word in printed.splitlines()[0].split()[1::2]) == 9
