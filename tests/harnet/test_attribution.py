from pathlib import Path

import numpy as np
import pytest
import torch

from harnet.errors import HarnetError
from harnet.heads import ClassifierModel
from harnet.weights.bundle import BundleConfig, save

pytest.importorskip("captum", reason="needs captum: pip install 'harnet[interpret]'", exc_type=ImportError)

from harnet.evaluation import attribution


def test_attributions_sum_to_the_difference_of_the_logits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    model = ClassifierModel("harnet5", 2, width=8).eval()
    random = np.random.default_rng(0)
    windows = (random.standard_normal((4, 3, 150)) * 0.3 + np.array([[0], [0], [1]])).astype(np.float32)
    values = attribution.attribute(model, windows[0], 1)
    assert values.shape == (3, 150)
    x = torch.from_numpy(windows[:1])
    still = x.mean(dim=2, keepdim=True).expand_as(x)
    with torch.no_grad():
        wanted = float((model(x) - model(still))[0, 1])
    assert float(values.sum()) == pytest.approx(wanted, rel=0.05, abs=1e-3)

    config = BundleConfig("harnet5", 5, "none", width=8, classes=("a", "b"))
    bundle = save(tmp_path / "model", model.state_dict(), config)
    for name, rows in (("X", windows), ("Y", np.array(["a", "b"] * 2)), ("pid", np.array(["p", "p", "q", "q"]))):
        np.save(tmp_path / f"{name}.npy", rows)
    picture = tmp_path / "a.svg"
    monkeypatch.setattr("sys.argv", ["x", str(bundle), str(tmp_path), "--window", "2", "--out", str(picture)])
    assert attribution.main() == 0
    assert "true class a" in capsys.readouterr().out
    assert "<svg" in picture.read_text()
    monkeypatch.setattr("sys.argv", ["x", str(bundle), str(tmp_path), "--out", str(tmp_path / "a.jpg")])
    with pytest.raises(HarnetError, match=r"must end in \.svg or \.png"):
        attribution.main()
