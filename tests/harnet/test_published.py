"""Checkpoints in the published form: read in any wrapping, or refused; written in a form that published tools read."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import harnet
from harnet.encoder import ARCHITECTURES
from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig
from harnet.weights.hub_folder import hub_folder
from harnet.weights.published import FILES, published_bytes, read_published

State = dict[str, Tensor]
STEM = "layer1.0.weight"


@pytest.fixture(scope="module")
def state() -> State:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PretextModel("harnet5").state_dict()


def encoder_of(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if name.startswith("feature_extractor.")}


def saved(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(HarnetError) as caught:
        read_published(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


WRAPPINGS: dict[str, Callable[[State], State]] = {
    "as it is": lambda state: state,
    "data parallel": lambda state: {f"module.{name}": t for name, t in state.items()},
    "data parallel of compiled": lambda state: {f"module._orig_mod.{name}": t for name, t in state.items()},
    "nested": lambda state: (
        {f"feature_extractor.{name}": t for name, t in encoder_of(state).items()}
        | {"lstm.weight": torch.zeros(3), "feature_extractor.classifier.linear1.bias": torch.zeros(3)}
    ),
    "nested, data parallel": lambda state: {
        f"module.feature_extractor.{name}": t for name, t in encoder_of(state).items()
    },
    "with a classifier": lambda state: state | {"classifier.linear2.bias": torch.zeros(2)},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_wrapping_gives_the_131_tensors(wrapping: str, state: State, tmp_path: Path) -> None:
    path = saved(tmp_path / "old.mdl", WRAPPINGS[wrapping](state))
    found, config, digest = read_published(path)
    assert (config.architecture, config.normalisation, len(digest)) == ("harnet5", "none", 64)
    encoder = encoder_of(found)
    assert len(encoder) == 131
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.items())
    assert ("aot_h.linear1.weight" in found) == ("nested" not in wrapping)


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_the_architecture_is_known_by_its_tensors(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / FILES[name], PretextModel(name).state_dict())
    assert read_published(path)[1].architecture == name


def test_one_line_loads_it_like_a_bundle(state: State, tmp_path: Path) -> None:
    path = tmp_path / "mtl_5_best.mdl"
    path.write_bytes(published_bytes(state))
    assert published_bytes(state) == path.read_bytes()
    for name, tensor in harnet.load_encoder(path).state_dict().items():
        assert torch.equal(tensor, state[f"feature_extractor.{name}"])
    model = harnet.create_model("harnet5", 3, weights=str(path))
    assert torch.equal(model.state_dict()[f"feature_extractor.{STEM}"], state[f"feature_extractor.{STEM}"])


BREAKS: dict[str, tuple[Callable[[State], object], str]] = {
    "one missing": (lambda s: {n: t for n, t in s.items() if not n.endswith(STEM)}, "1 missing"),
    "half missing": (lambda s: dict(list(encoder_of(s).items())[:60]), "expected the 131 tensors of harnet5, found 60"),
    "renamed": (lambda s: {n.replace("layer3", "stage3"): t for n, t in s.items()}, "stage3"),
    "bare encoder": (
        lambda s: {n.removeprefix("feature_extractor."): t for n, t in s.items()},
        "found none of its first stage among",
    ),
    "another shape": (lambda s: s | {f"feature_extractor.{STEM}": torch.zeros(64, 3, 7)}, "expects (64, 3, 5)"),
    "another kernel": (
        lambda s: s | {n: t * 1.1 for n, t in s.items() if n.endswith("layer1.5.kernel")},
        "fixed low-pass kernel",
    ),
    "not finite": (lambda s: s | {f"feature_extractor.{STEM}": torch.full((64, 3, 5), torch.nan)}, "not finite"),
    "empty": (lambda s: {}, "found none of its first stage among 0"),
    "a tensor": (lambda s: torch.zeros(3), "a Tensor that is not a state dict"),
    "a whole training state": (lambda s: {"model": s, "epoch": 3}, "not a state dict"),
    "an object": (lambda s: PretextModel("harnet5"), "Python objects, which are not loaded for security"),
}


@pytest.mark.parametrize("how", BREAKS)
def test_what_is_not_exactly_an_encoder_is_refused(how: str, state: State, tmp_path: Path) -> None:
    change, said = BREAKS[how]
    assert said in refusal(saved(tmp_path / "wrong.mdl", change(state)))


def test_a_damaged_or_missing_file_is_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "cut.mdl"
    path.write_bytes(published_bytes(state)[:-5000])
    assert "not a complete torch.save file" in refusal(path)
    path.write_bytes(b"")
    refusal(path)
    assert "cannot be read" in refusal(tmp_path / "absent.mdl")


def write_folder(folder: Path, state: State, config: BundleConfig) -> None:
    for name, content in hub_folder(state, config).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def in_a_process_without_harnet(code: str, folder: Path) -> str:
    """Standard output of code in a process that cannot import this package."""
    code = f"import sys; sys.modules['harnet'] = None; sys.dont_write_bytecode = True\n{code}"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr


LOAD = """
import torch
model = torch.hub.load({folder!r}, "harnet5", source="local", trust_repo=True, pretrained=True, class_num=3)
with torch.inference_mode():
    x = 0.3 * torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    print(float(model.eval().feature_extractor(x).double().sum()), tuple(model(x).shape))
"""


def test_the_published_folder_needs_no_harnet(state: State, tmp_path: Path) -> None:
    write_folder(tmp_path / "hub", state, BundleConfig("harnet5", 5, "standardised window"))
    printed = in_a_process_without_harnet(LOAD.format(folder=str(tmp_path / "hub")), tmp_path)
    model = PretextModel("harnet5", standardise=True).eval()
    model.load_state_dict(state)
    with torch.inference_mode():
        x = 0.3 * torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
        expected = float(model.feature_extractor(x).double().sum())
    assert printed.split(maxsplit=1)[1].strip() == "(2, 3)"
    assert float(printed.split()[0]) == pytest.approx(expected, rel=1e-6)


def test_the_published_folder_refuses_damage_and_other_architectures(state: State, tmp_path: Path) -> None:
    write_folder(tmp_path / "hub", state, BundleConfig("harnet5", 5, "none"))
    load = LOAD.format(folder=str(tmp_path / "hub"))
    assert "holds only weights of harnet5:" in in_a_process_without_harnet(load.replace('"harnet5"', '"harnet10"'),
                                                                           tmp_path)  # fmt: skip
    file = tmp_path / "hub" / "model_check_point" / "mtl_5_best.mdl"
    file.write_bytes(published_bytes({name: tensor + 1 for name, tensor in state.items()}))
    assert "damaged or modified" in in_a_process_without_harnet(load, tmp_path)
