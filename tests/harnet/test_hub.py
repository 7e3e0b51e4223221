"""torch.hub on this repository and on an exported bundle."""

import sys
from pathlib import Path

import pytest
import torch

from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def keep_the_repository_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture(scope="module")
def model() -> PretextModel:
    return PretextModel("harnet5").eval()


@pytest.fixture(scope="module")
def bundle(model: PretextModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("hub") / "bundle", model.state_dict(), BundleConfig("harnet5", 5, "none"))


def load(folder: Path, name: str, **options: object) -> torch.nn.Module:
    return torch.hub.load(str(folder), name, source="local", **options)


@pytest.mark.parametrize(("name", "length"), [("harnet5", 150), ("harnet10", 300), ("harnet30", 900)])
def test_the_repository_offers_every_architecture(name: str, length: int) -> None:
    assert load(ROOT, name, class_num=5).eval()(torch.zeros(1, 3, length)).shape == (1, 5)


def test_pretrained_from_the_repository_and_from_the_bundle(bundle: Path, model: PretextModel) -> None:
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    for found in (
        load(ROOT, "harnet5", pretrained=True, weights=bundle),
        load(bundle, "harnet5", pretrained=True, class_num=4, my_device="cpu"),
    ):
        assert torch.equal(found.eval().feature_extractor(x), model.feature_extractor(x))  # type: ignore[operator]


def test_what_cannot_be_done_is_refused(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "hubconf.py").write_text((ROOT / "hubconf.py").read_text())
    with pytest.raises(HarnetError, match="pretrained=True needs weights"):
        load(tmp_path, "harnet5", pretrained=True)
    with pytest.raises(HarnetError, match="without pretrained=True"):
        load(ROOT, "harnet5", weights=bundle)
    with pytest.raises(HarnetError, match="no option 'number'"):
        load(ROOT, "harnet5", number=3)
    with pytest.raises(HarnetError, match="holds harnet5, expected harnet10"):
        load(ROOT, "harnet10", pretrained=True, weights=bundle)
