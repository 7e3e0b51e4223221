"""Weights saved and loaded: bit-identical, and any deviation from the format is refused."""

import hashlib
import json
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

import harnet
from harnet.console import guarded
from harnet.encoder import Encoder
from harnet.errors import HarnetError
from harnet.heads import ClassifierModel, PretextModel
from harnet.linear_probe import LinearProbe
from harnet.weights import contract
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.bundle_source import listed_files, open_source, read_checked
from harnet.weights.load import load_classifier, read_bundle

State = dict[str, Tensor]
STEM = "feature_extractor.layer1.0.weight"
VARIANCE = "feature_extractor.layer1.1.bn1.running_var"
KERNEL = "feature_extractor.layer1.5.kernel"
CONFIG = BundleConfig(
    "harnet5",
    5,
    "standardised window",
    preprocessing={"resampling": "polyphase filter to 30 Hz"},
    training_steps=12,
    provenance={"people": 35, "held_out": {"reversal accuracy": 0.5}},
    data_use_terms="research only",
)


@pytest.fixture(scope="module")
def model() -> PretextModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return PretextModel("harnet5", standardise=True).eval()


@pytest.fixture(scope="module")
def original(model: PretextModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("weights") / "bundle", model.state_dict(), CONFIG)


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def with_last(tensor: Tensor, value: float) -> Tensor:
    """A copy with another last value."""
    copy = tensor.clone()
    copy.view(-1)[-1] = value
    return copy


def rewrite(bundle: Path, name: str, content: bytes) -> None:
    """Change a file and its line in SHA256SUMS, so that only its content is wrong."""
    old = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / name).write_bytes(content)
    sums = (bundle / "SHA256SUMS").read_text().replace(old, hashlib.sha256(content).hexdigest())
    (bundle / "SHA256SUMS").write_text(sums)


def change_state(bundle: Path, change: Callable[[State], State]) -> None:
    state = change(load_file(bundle / "model.safetensors"))
    changed = bundle.with_name("changed.safetensors")
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, changed)
    rewrite(bundle, "model.safetensors", changed.read_bytes())


def change_config(bundle: Path, **values: object) -> None:
    config = json.loads((bundle / "config.json").read_text())
    rewrite(bundle, "config.json", json.dumps({**config, **values}).encode())


def refusal(bundle: Path | str) -> str:
    with pytest.raises(HarnetError) as caught:
        harnet.load_encoder(bundle)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_features_come_back_to_the_bit(original: Path, model: PretextModel) -> None:
    x = torch.randn(4, 3, 150, generator=torch.Generator().manual_seed(0))
    encoder = harnet.load_encoder(original)
    assert not encoder.training
    assert encoder.standardise
    assert torch.equal(encoder(x), model.feature_extractor(x))
    tuned = harnet.create_model("harnet5", num_classes=3, weights=original).eval()
    assert torch.equal(tuned.feature_extractor(x), model.feature_extractor(x))
    assert read_bundle(original).config == CONFIG


def test_checks_and_loading_leave_the_random_generator_alone(original: Path) -> None:
    tuned = ClassifierModel("harnet5", 2).state_dict()
    probe = LinearProbe(Encoder("harnet5"), 2).state_dict()
    probe = {name: tensor for name, tensor in probe.items() if name.startswith(contract.PROBE_PREFIX)}
    contract._pretext_layout.cache_clear()
    contract._classifier_layout.cache_clear()
    before = torch.get_rng_state()
    harnet.load_encoder(original)
    contract.check_state(tuned, "harnet5", 64, 2, "tuned")
    contract.check_probe(probe, "harnet5", 64, 2, "probe")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loaded_encoder_can_be_trained(original: Path) -> None:
    encoder = harnet.load_encoder(original).train()
    encoder(torch.randn(2, 3, 150)).sum().backward()
    torch.optim.SGD(encoder.parameters(), lr=0.1).step()
    assert all(p.grad is not None for p in encoder.parameters())


@pytest.mark.parametrize("url", ["file://{path}", "memory://bundle/"])
def test_loading_from_a_url(url: str, original: Path, model: PretextModel) -> None:
    if url.startswith("memory"):
        for path in original.iterdir():
            if path.is_file():
                fsspec.filesystem("memory").pipe_file(f"/bundle/{path.name}", path.read_bytes())
    encoder = harnet.load_encoder(url.format(path=original), dtype=torch.float64)
    assert encoder(torch.zeros(1, 3, 150)).dtype == torch.float64


def test_an_empty_url_and_an_unknown_protocol_are_refused() -> None:
    assert "memory://nothing/config.json: missing" in refusal("memory://nothing")
    assert "cannot be read (Protocol not known: nonsense): check the URL" in refusal("nonsense://nothing")
    assert "unknown.mdl/config.json: cannot be read" in refusal("nonsense://unknown.mdl"), "a URL is no checkpoint"


def test_an_error_without_a_message_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TimeoutError

    monkeypatch.setattr(fsspec, "open", fail)
    assert "cannot be read (TimeoutError): check the URL" in refusal("memory://nothing")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: {k: v for k, v in s.items() if k != STEM}, f"1 missing (such as '{STEM}')"),
        (lambda s: {f"module.{k}": v for k, v in s.items()}, "the prefix 'module.'"),
        (lambda s: {k.removeprefix("feature_extractor."): v for k, v in s.items()}, "lack the prefix"),
        (lambda s: {**s, "extra.weight": torch.zeros(1)}, "1 unexpected (such as 'extra.weight')"),
        (lambda s: {**s, "module.extra.weight": torch.zeros(1)}, "nothing was loaded"),
        (lambda s: {k: v for k, v in s.items() if k != "aot_h.linear1.bias"}, "1 missing (such as 'aot_h"),
        (lambda s: {**s, STEM: s[STEM][:, :, :3]}, "(64, 3, 3) torch.float32, harnet5 expects (64, 3, 5)"),
        (lambda s: {**s, STEM: s[STEM].half()}, "torch.float16, harnet5 expects (64, 3, 5) torch.float32"),
        (lambda s: {f"_orig_mod.{k}": v for k, v in s.items()}, "the prefix '_orig_mod.'"),
        (lambda s: {**s, STEM: s[STEM].clone().fill_(torch.nan)}, "960 values that are not finite"),
        (lambda s: {**s, STEM: with_last(s[STEM], -torch.inf)}, f"{STEM} has 1 values that are not finite"),
        (lambda s: {**s, VARIANCE: with_last(s[VARIANCE], -0.5)}, "negative variance (-0.5)"),
        (lambda s: {**s, KERNEL: with_last(s[KERNEL], 0.1251)}, f"{KERNEL} differs by 0.0001 from"),
        (lambda s: {k: -v if k.endswith("running_var") else v for k, v in s.items()}, "negative variance"),
        (lambda s: {k: 2 * v if k.endswith("kernel") else v for k, v in s.items()}, "fixed low-pass kernel"),
        (lambda s: {**s, **ClassifierModel("harnet5", 2).state_dict()}, "4 unexpected (such as 'classifier."),
    ],
)  # fmt: skip
def test_tensors_that_break_the_contract_are_refused(bundle: Path, change: Callable[[State], State], said: str) -> None:
    change_state(bundle, change)
    message = refusal(bundle)
    assert said in message
    assert message.startswith(f"{bundle / 'model.safetensors'}: ")


def test_an_encoder_without_pretext_heads_and_a_channel_that_never_varies_are_allowed(bundle: Path) -> None:
    change_state(bundle, lambda s: {k: v for k, v in s.items() if k.startswith("feature_extractor.")})
    change_state(bundle, lambda s: {**s, VARIANCE: with_last(s[VARIANCE], 0.0)})
    assert harnet.load_encoder(bundle)(torch.zeros(1, 3, 150)).shape == (1, 512, 1)


def test_a_flipped_byte_is_refused(bundle: Path) -> None:
    path = bundle / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "damaged or modified" in refusal(bundle)


def test_a_truncated_file_is_refused(bundle: Path) -> None:
    content = (bundle / "model.safetensors").read_bytes()[:-1000]
    (bundle / "model.safetensors").write_bytes(content)
    assert f"{len(content):,} bytes" in refusal(bundle)
    rewrite(bundle, "model.safetensors", content[:-1])
    assert "SHA-256" in refusal(bundle)


def test_a_truncated_file_with_matching_sums_is_refused(bundle: Path) -> None:
    rewrite(bundle, "model.safetensors", (bundle / "model.safetensors").read_bytes()[:-1000])
    assert "not a complete safetensors file" in refusal(bundle)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "SHA256SUMS"])
def test_a_missing_file_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    assert refusal(bundle).startswith(f"{bundle / name}: missing")


def test_sums_that_do_not_list_the_weights_are_refused(bundle: Path) -> None:
    (bundle / "SHA256SUMS").write_text("")
    assert "does not list config.json" in refusal(bundle)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"architecture": "harnet10", "window_seconds": 10}, "harnet10 expects"),
        ({"architecture": "harnet7"}, "no such architecture"),
        ({"window_seconds": 10}, "harnet5 takes 5 s"),
        ({"window_seconds": "5"}, "expected int"),
        ({"sampling_rate": 50}, "must be 30"),
        ({"units": "m/s2"}, "must be 'g'"),
        ({"normalisation": "z-score"}, "normalisation 'z-score'"),
        ({"format": "other"}, "expected 'harnet weights 1'"),
        ({"surprise": 1}, "unknown entry 'surprise'"),
        ({"provenance": {"people": ["P1", "P2"]}}, "a list; only numbers and text"),
    ],
)
def test_a_wrong_config_is_refused(bundle: Path, values: dict[str, object], said: str) -> None:
    change_config(bundle, **values)
    assert said in refusal(bundle)


def test_the_smallest_config_has_these_entries() -> None:
    """Other programs read them, and versions that know no more entries than these."""
    assert json.loads(BundleConfig("harnet5", 5, "none").to_json()) == {
        "format": "harnet weights 1",
        "architecture": "harnet5",
        "window_seconds": 5,
        "normalisation": "none",
        "sampling_rate": 30,
        "units": "g",
        "preprocessing": {},
        "manifest_digest": "",
        "training_steps": 0,
        "git_revision": "",
        "provenance": {},
        "data_use_terms": "",
        "classes": [],
    }


def test_a_config_that_is_not_json_is_refused(bundle: Path) -> None:
    rewrite(bundle, "config.json", b"{")
    assert "config.json: not JSON" in refusal(bundle)


def test_a_missing_folder_and_another_architecture_are_refused(original: Path, tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere")
    assert "not in the local cache of the Hugging Face Hub: pass download=True" in refusal("organisation/weights")
    with pytest.raises(HarnetError, match="holds harnet5, expected harnet10"):
        harnet.create_model("harnet10", num_classes=2, weights=original)
    with pytest.raises(HarnetError, match="encoder without a classifier"):
        load_classifier(original)


def test_the_same_weights_give_the_same_bytes_and_replace_a_bundle(bundle: Path, model: PretextModel) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    (bundle / "README.md").write_text("edited")
    save(bundle, model.state_dict(), CONFIG)
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_save_killed_between_its_renames_is_mended_by_the_next(bundle: Path, model: PretextModel) -> None:
    bundle.rename(bundle.with_name(".bundle.old"))
    bundle.with_name(".bundle.tmp").mkdir()
    save(bundle, model.state_dict(), CONFIG)
    assert harnet.load_encoder(bundle).standardise
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_save_replaces_nothing_but_a_bundle(bundle: Path, model: PretextModel, tmp_path: Path) -> None:
    (bundle / "thesis.tex").write_text("years of work")
    with pytest.raises(HarnetError, match=r"contains files other than .*'thesis.tex'"):
        save(bundle, model.state_dict(), CONFIG)
    assert (bundle / "thesis.tex").exists()
    (tmp_path / "file").touch()
    with pytest.raises(HarnetError, match="is a file"):
        save(tmp_path / "file", model.state_dict(), CONFIG)


def test_save_refuses_a_broken_state_and_writes_nothing(model: PretextModel, tmp_path: Path) -> None:
    broken = {**model.state_dict(), STEM: torch.full((64, 3, 5), torch.inf)}
    with pytest.raises(HarnetError, match="not finite"):
        save(tmp_path / "bundle", broken, CONFIG)
    assert not list(tmp_path.iterdir())


def test_the_card_and_the_sums_describe_the_bundle(original: Path) -> None:
    card = (original / "README.md").read_text()
    for fact in ("harnet5", "(N, 3, 150)", "standardised window", "polyphase", "research only", "35"):
        assert fact in card
    with safe_open(original / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}, "which other readers require"
    for line in (original / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((original / name).read_bytes()).hexdigest() == digest


def test_a_classifier_comes_back_with_the_names_of_its_classes(tmp_path: Path) -> None:
    model = ClassifierModel("harnet5", 2).eval()
    save(tmp_path / "tuned", model.state_dict(), BundleConfig("harnet5", 5, "none", classes=("sit", "walk")))
    loaded, classes = load_classifier(tmp_path / "tuned")
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    assert classes == ("sit", "walk")
    assert torch.equal(loaded(x), model(x))


def test_a_narrow_encoder_comes_back_to_the_bit_and_says_its_width(tmp_path: Path) -> None:
    model = PretextModel("harnet5", standardise=True, width=16).eval()
    folder = save(tmp_path / "narrow", model.state_dict(), BundleConfig("harnet5", 5, "standardised window", width=16))
    x = torch.randn(2, 3, 150, generator=torch.Generator().manual_seed(0))
    assert torch.equal(harnet.load_encoder(folder)(x), model.feature_extractor(x))
    classifier = harnet.create_model("harnet5", num_classes=3, weights=folder).eval()
    assert torch.equal(classifier.feature_extractor(x), model.feature_extractor(x))
    assert harnet.create_model("harnet5", 3, width=16)(x).shape == (2, 3)
    assert "128 features" in (folder / "README.md").read_text()
    with pytest.raises(HarnetError, match="holds width 16, expected 64"):
        harnet.create_model("harnet5", 3, weights=folder, width=64)
    change_config(folder, width=64)
    assert "(16, 3, 5) torch.float32, harnet5 expects (64, 3, 5)" in refusal(folder)


def test_weights_of_the_published_width_do_not_mention_it_so_that_older_versions_read_them(bundle: Path) -> None:
    assert "width" not in json.loads((bundle / "config.json").read_text())
    assert read_bundle(bundle).config.width == 64
    change_config(bundle, width=12)
    assert "width is 12; it must be a multiple of 8" in refusal(bundle)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../secret", ".netrc", "a//b", "C:\\x"])
def test_a_list_of_sums_leads_nowhere_else(original: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(original, tmp_path / "weights")
    (tmp_path / "secret").write_text("x")
    with (copy / "SHA256SUMS").open("a") as file:
        file.write(f"{hashlib.sha256(b'x').hexdigest()}  {name}\n")
    for use in (listed_files, lambda source: read_checked(source, "config.json")):
        with pytest.raises(HarnetError, match="which is not inside the folder"):
            use(open_source(copy))


@pytest.mark.parametrize("url", ["http://me:s3cret@127.0.0.1:1/weights", "http://127.0.0.1:1/weights?sig=s3cret"])
def test_no_message_of_remote_weights_holds_a_password(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("aiohttp", reason="needs aiohttp: pip install -e '.[dev]'")
    with pytest.raises(HarnetError, match=r"127\.0\.0\.1:1/weights") as error:
        harnet.load_encoder(url)
    assert "s3cret" not in "".join(traceback.format_exception(error.value))
    assert "s3cret" not in str(error.value)

    def fail() -> int:
        raise HarnetError(f"{url}: holds an encoder without a classifier")

    assert guarded("harnet predict", "apply", fail) == 1
    assert "s3cret" not in capsys.readouterr().err
