"""ONNX and torch.export: equal to torch for any batch size, identical bytes each time, and no trace of this machine."""

from pathlib import Path

import numpy as np
import pytest
import torch

import harnet
from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.weights import graphs
from harnet.weights.bundle import FORMATS, BundleConfig, save
from launch.cli import main

onnxruntime = pytest.importorskip("onnxruntime", reason="needs ONNX: pip install 'harnet[onnx]'")
pytest.importorskip("onnxscript", reason="needs ONNX: pip install 'harnet[onnx]'")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PretextModel("harnet5", standardise=True, width=8)
    config = BundleConfig("harnet5", 5, "standardised window", width=8, data_use_terms="research only")
    return save(tmp_path_factory.mktemp("weights") / "all", model.state_dict(), config, FORMATS)


@pytest.fixture(scope="module")
def windows() -> torch.Tensor:
    return 0.3 * torch.randn(5, 3, 150, generator=torch.Generator().manual_seed(1))


def features(bundle: Path, windows: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return harnet.load_encoder(bundle)(windows).flatten(1).numpy()


@pytest.mark.parametrize("count", [1, 5])
def test_onnx_gives_what_torch_gives(bundle: Path, windows: torch.Tensor, count: int) -> None:
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    found = session.run(["features"], {"windows": windows[:count].numpy()})[0]
    np.testing.assert_allclose(found, features(bundle, windows[:count]), atol=1e-4)


@pytest.mark.parametrize("count", [1, 5])
def test_an_exported_program_gives_what_torch_gives(bundle: Path, windows: torch.Tensor, count: int) -> None:
    program = torch.export.load(bundle / "model.pt2").module()
    with torch.inference_mode():
        np.testing.assert_allclose(program(windows[:count]), features(bundle, windows[:count]), atol=1e-6)


def test_a_graph_that_differs_from_torch_is_refused() -> None:
    encoder = PretextModel("harnet5", width=8).feature_extractor.eval()
    with torch.no_grad():

        def close(windows: torch.Tensor) -> np.ndarray:
            return encoder(windows).flatten(1).numpy() + 5e-5

        graphs._compare(encoder, close, "a graph")
        with pytest.raises(HarnetError, match=r"a graph: differs from torch by 0\.\d+, more than the allowed 0\.0001"):
            graphs._compare(encoder, lambda windows: close(windows) + 0.1, "a graph")
        with pytest.raises(HarnetError, match=r"a graph: returns \(1, 1\) for 1 windows, torch \(1, 64\)"):
            graphs._compare(encoder, lambda windows: close(windows)[:, :1], "a graph")


def test_nothing_of_this_machine_is_in_a_bundle(bundle: Path) -> None:
    files = [
        path for path in bundle.rglob("*") if path.is_file() and path.suffix != ".py" and path.name != "SHA256SUMS"
    ]
    assert {path.name for path in files} >= {"model.onnx", "model.pt2", "mtl_5_best.mdl"}
    repository = str(Path(__file__).parents[2]).encode()
    for path in files:
        content = path.read_bytes()
        assert repository not in content, path
        assert b"encoder.py" not in content, path


def test_the_same_weights_give_the_same_bytes_in_other_formats(bundle: Path, tmp_path: Path) -> None:
    assert (
        main(["export", str(bundle), "--out", str(tmp_path / "again"), "--formats", "torch-export", "published"]) == 0
    )
    again = tmp_path / "again"
    named = ("README.md", "SHA256SUMS")  # these two also name the ONNX file
    names = [path.relative_to(again) for path in again.rglob("*") if path.is_file() and path.name not in named]
    assert len(names) == 10
    assert all((bundle / name).read_bytes() == (again / name).read_bytes() for name in names)


def test_inspect_prints_where_weights_come_from(bundle: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(bundle)]) == 0
    printed = capsys.readouterr().out
    for fact in ("encoder tensors: 131", "rate: 30 Hz", "window: 5 s, 150 samples", "data-use terms: research only",
                 "torch_hub/model_check_point/mtl_5_best.mdl"):  # fmt: skip
        assert fact in printed
    assert printed.count("\n") > 20


def test_damage_to_any_listed_file_is_found_by_inspect(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = save(tmp_path / "copy", PretextModel("harnet5", width=8).state_dict(),
                BundleConfig("harnet5", 5, "none", width=8), ("published",))  # fmt: skip
    hubconf = copy / "torch_hub" / "hubconf.py"
    hubconf.write_text(hubconf.read_text() + "\n")
    assert main(["inspect", str(copy)]) == 1
    assert "torch_hub/hubconf.py: SHA-256" in capsys.readouterr().err
