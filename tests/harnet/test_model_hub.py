"""Names on the Hugging Face Hub: read from the local cache without a network, and the files that would be published."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import harnet
from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save
from harnet.weights.model_hub import HubId, publish_folder, snapshot
from launch.cli import main

REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = BundleConfig("harnet5", 5, "none", width=8, data_use_terms="research only")
    return save(tmp_path_factory.mktemp("weights") / "b", PretextModel("harnet5", width=8).state_dict(), config)


@pytest.fixture
def cache(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local cache in the layout of huggingface_hub, with the bundle in it, and no network."""
    repository = tmp_path / "models--org--encoder"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(REVISION)
    for name in ("model.safetensors", "config.json", "SHA256SUMS"):
        (snapshot / name).write_bytes((bundle / name).read_bytes())
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return snapshot


@pytest.mark.parametrize("name", ["org/encoder", "org/encoder@main", f"org/encoder@{REVISION}"])
def test_a_cached_repository_loads_by_its_name(name: str, cache: Path, bundle: Path) -> None:
    ours, theirs = harnet.load_encoder(bundle), harnet.load_encoder(name)
    assert all(torch.equal(tensor, theirs.state_dict()[key]) for key, tensor in ours.state_dict().items())


def test_what_is_not_cached_or_damaged_is_refused(cache: Path) -> None:
    with pytest.raises(HarnetError, match="'org/other': no such folder, and not in the local cache"):
        harnet.load_encoder("org/other")
    with pytest.raises(HarnetError, match="'org/other': cannot be fetched"):
        harnet.load_encoder("org/other", download=True)
    (cache / "model.safetensors").write_bytes(b"x")
    with pytest.raises(HarnetError, match="SHA-256"):
        harnet.load_encoder("org/encoder")


@pytest.mark.parametrize("download", [True, False])
def test_the_network_is_used_only_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download: bool) -> None:
    asked: dict[str, object] = {}

    def snapshot_download(name: str, **options: object) -> str:
        asked.update(options, name=name)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    assert snapshot(HubId("org/encoder", "v1"), download) == tmp_path
    files = ["model.safetensors", "config.json", "SHA256SUMS"]
    expected = {"name": "org/encoder", "revision": "v1", "allow_patterns": files, "local_files_only": not download}
    assert asked == expected


def test_a_local_folder_of_that_form_comes_first(
    bundle: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "encoder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HarnetError, match=r"org/encoder/config.json: missing"):
        harnet.load_encoder("org/encoder")


@pytest.mark.parametrize("text", ["folder", "../up/there", "/a/b", "a/b/c", "a/b@", "~/x", "./weights"])
def test_what_is_a_path_is_not_taken_for_a_name(text: str) -> None:
    assert HubId.parse(text) is None


def test_a_dry_run_checks_and_lists_and_sends_nothing(
    bundle: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.upload_folder", None)
    (bundle / "__pycache__").mkdir(exist_ok=True)
    assert main(["publish", str(bundle), "--to", "org/encoder", "--dry-run", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["repository"], done["url"]) == ("org/encoder", None)
    assert set(done["files"]) == {"model.safetensors", "config.json", "README.md", "hubconf.py", "SHA256SUMS"}
    assert (bundle / "README.md").read_text().startswith("---\nlibrary_name: harnet\nlicense: other\n")


class Hub:
    """Records what is sent, in place of huggingface_hub.HfApi."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append((repository, private, exist_ok))

    def upload_folder(
        self, *, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str
    ) -> object:
        found = [path for path in folder_path.rglob("*") if str(path.relative_to(folder_path)) in allow_patterns]
        self.calls.append((repo_id, sorted(path.name for path in found)))
        return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")


@pytest.mark.parametrize("private", [True, False])
def test_the_files_of_the_bundle_are_sent_and_nothing_else(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, private: bool
) -> None:
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    (bundle / "__pycache__").mkdir(exist_ok=True)
    (bundle / "notes.txt").write_text("not for the world")
    try:
        done = publish_folder(bundle, "org/encoder", private, dry_run=False)
    finally:
        (bundle / "notes.txt").unlink()
    files = ["README.md", "SHA256SUMS", "config.json", "hubconf.py", "model.safetensors"]
    assert hub.calls == [("org/encoder", private, True), ("org/encoder", files)]
    assert done.files == {name: (bundle / name).stat().st_size for name in files}
    assert done.url == "https://huggingface.co/org/encoder/commit/1"
    with pytest.raises(HarnetError, match="'org/encoder@main': not the name of a repository"):
        publish_folder(bundle, "org/encoder@main", private, dry_run=True)


def test_an_upload_that_fails_is_one_line(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub()
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: hub)
    monkeypatch.setattr(hub, "create_repo", lambda *_, **__: (_ for _ in ()).throw(OSError("no\nroute to host")))
    with pytest.raises(HarnetError, match=r"org/encoder: not published \(no route to host\): check the name"):
        publish_folder(bundle, "org/encoder", True, dry_run=False)


def test_a_wrong_name_missing_terms_and_damage_are_refused(
    bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["publish", str(bundle), "--to", "encoder", "--dry-run"]) == 1
    assert "give ORGANISATION/NAME" in capsys.readouterr().err
    config = BundleConfig("harnet5", 5, "none", width=8)
    other = save(tmp_path / "w", PretextModel("harnet5", width=8).state_dict(), config)
    assert main(["publish", str(other), "--to", "org/encoder"]) == 1
    assert "states no data-use terms" in capsys.readouterr().err
    (other / "README.md").write_text("changed")
    assert main(["publish", str(other), "--to", "org/encoder", "--dry-run"]) == 1
    assert "README.md: SHA-256" in capsys.readouterr().err
