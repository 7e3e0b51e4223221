"""Credentials are passed without putting them into a URL, and `harnet submit` writes none to a file."""

import json
import os
from pathlib import Path

import fsspec
import pytest

from data_shards.stream.node_cache import NodeCache
from data_shards.stream.remote import RemoteOptions, open_storage
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.shared_manifest import open_manifest
from harnet.errors import HarnetError
from launch.cli import main
from tests.launch.stand_ins import stand_in
from tests.s3.conftest import Server

FAST = RemoteOptions(retry_policy=RetryPolicy(seconds=0.1, first_pause=0.05))
SECRET = "r+g/t="
SUBMIT = ("submit", "pretrain", "--profile")

# The HTTP client closes its connections only when the interpreter exits.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


def configure(monkeypatch: pytest.MonkeyPatch, folder: Path, options: dict) -> None:
    """As if a new process found this file in fsspec's configuration folder."""
    (folder / "store.json").write_text(json.dumps({"https": options}))
    found: dict = {}
    fsspec.config.set_conf_files(str(folder), found)
    monkeypatch.setitem(fsspec.config.conf, "https", found["https"])


@pytest.mark.parametrize(
    "options",
    [
        {"client_kwargs": {"trust_env": True}},
        {"headers": {"Authorization": "Bearer right"}},
        {"params": {"token": SECRET}},
    ],
    ids=["netrc", "header", "query"],
)
def test_a_store_opens_by_fsspecs_configuration(
    http: Server, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password right\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    cache, location = NodeCache.open(tmp_path / "cache"), f"{http.url}/locked"
    with pytest.raises(HarnetError, match="access denied"):
        open_manifest(location, cache, remote=FAST)
    configure(monkeypatch, tmp_path, options)
    contents = open_manifest(location, cache, remote=FAST)
    name = contents.shards[0].name
    storage, found = open_storage(contents, FAST), bytearray(1000)
    storage.read_into(name, 500, memoryview(found))
    storage.close()
    assert found == (shards / name).read_bytes()[500:1500]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for Slurm that keeps all arguments and scripts it gets in this folder, and a profile."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    keep = f'echo "$@" >> {folder}/words; [ "$1" = --test-only ] && cat >> {folder}/tested && exit\n'
    stand_in(folder, "sbatch", f'{keep}cat "$1" >> {folder}/queued; echo Submitted batch job 4711')
    stand_in(folder, "sinfo", "echo main")
    stand_in(folder, "srun", "exit 1")
    (folder / "site.toml").write_text('shared = ["/"]\n')
    return folder


def options(location: str, folder: Path) -> list[str]:
    given = {"data.shards": location, "data.cache": folder / "cache", "run.out": folder / "run",
             "data.batch": 12, "data.lanes": 12, "data.windows-per-visit": 16, "data.shuffle-windows": 24}  # fmt: skip
    return [word for name, value in given.items() for word in (f"--{name}", str(value))]


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_no_file_of_a_submission_holds_a_secret(
    http: Server, slurm: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    configure(monkeypatch, tmp_path_factory.mktemp("private"), {"params": {"token": SECRET}})
    location = f"{http.url}/locked"
    assert main([*SUBMIT, str(slurm / "site.toml"), *options(location, tmp_path)]) == 0
    said, made = capsys.readouterr(), files(tmp_path)
    assert SECRET.encode() in made.pop("server.log"), "the server was shown it, over the network"
    for name in ("run/slurm/4711_submission.sh", "slurm/tested", "slurm/queued", "run/slurm/submissions.jsonl"):
        assert location.encode() in made[name], name
    assert not [name for name, content in made.items() if SECRET.encode() in content]
    assert SECRET not in said.out + said.err


@pytest.mark.parametrize("place", ["alone", "equals", "overridden", "file"])
@pytest.mark.parametrize("url", ["{}/locked?token=s3cret", "http://me:s3cret@{}/locked", "https://s3cret@{}/locked"])
def test_a_secret_in_an_option_is_refused_before_anything_is_written(
    slurm: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str, place: str
) -> None:
    url = url.format("http://127.0.0.1:9" if url.startswith("{}") else "127.0.0.1:9")
    given = options(str(shards), tmp_path)
    if place == "alone":
        given[1] = url
    elif place == "equals":
        given[:2] = [f"--data.shards={url}"]
    elif place == "overridden":
        given = ["--data.shards", url, *given]
    else:
        (tmp_path / "settings.toml").write_text(f'[data]\nshards = "{url}"\n')
        given[:2] = ["--config", str(tmp_path / "settings.toml")]
    before = files(tmp_path)
    for dry in ([], ["--dry-run"]):
        assert main([*SUBMIT, str(slurm / "site.toml"), *dry, *given]) == 1
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert "***" in said.err
        assert "a password or token in an option would be readable by others" in said.err
        assert "s3cret" not in said.out + said.err
    assert files(tmp_path) == before
