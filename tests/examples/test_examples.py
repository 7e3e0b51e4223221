"""The example works as described when run by its command."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from harnet.heads import ClassifierModel
from harnet.weights.bundle import BundleConfig, save

ROOT = Path(__file__).parents[2]


def run(name: str, *arguments: object, without: tuple[str, ...] = ()) -> str:
    """Standard output of an example, run in a process that cannot import some packages."""
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


def test_a_product_team_needs_neither_torch_nor_harnet(model: Path, tmp_path: Path) -> None:
    windows = np.random.default_rng(0).normal(0, 0.3, (9, 3, 150)) + np.array([[0.0], [0.0], [1.0]])
    np.save(tmp_path / "windows.npy", windows)
    without = ("torch", "harnet", "safetensors", "zarr")
    printed = run("onnx_on_cpu.py", model, tmp_path / "windows.npy", without=without)
    assert "9 windows in" in printed
    assert sum(int(word.strip(",")) for word in printed.splitlines()[0].split()[1::2]) == 9
