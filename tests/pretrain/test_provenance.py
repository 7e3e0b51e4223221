"""A checkpoint's record of its origin."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from data_shards.shards import manifest
from pretrain.parallel.distributed import Process
from pretrain.run import checkpoint, provenance
from pretrain.run.provenance import git_revision
from tests.pretrain.runs import alone, small


def git(folder: Path, *arguments: str) -> str:
    # Ignore the machine's git configuration, and the variables of a repository that runs these tests from a hook.
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of somebody else, with one file."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    git(tmp_path, "init", "-q")
    (tmp_path / "theirs.py").write_text("")
    git(tmp_path, "add", "theirs.py")
    git(tmp_path, "commit", "-q", "-m", "theirs")
    return tmp_path


def test_a_strangers_repository_is_not_named(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for a package in a virtual environment inside a repository, ignored by it or not."""
    installed = repository / ".venv" / "lib" / "provenance.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    assert git_revision(installed) == "unknown"
    (repository / ".gitignore").write_text(".venv\n")
    assert git_revision(installed) == "unknown"
    theirs = git(repository, "rev-parse", "HEAD")
    assert git_revision(repository / "theirs.py") == theirs
    (repository / "theirs.py").write_text("changed")
    assert git_revision(repository / "theirs.py") == f"{theirs}-dirty"
    monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
    assert git_revision(installed) == "unknown"
    assert git_revision(Path("/etc/hostname")) == "unknown"


def test_only_the_first_process_looks(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others receive the result; a stand-in for the exchange hands over what the first process found."""
    contents, config = manifest.read(shards), small(shards, tmp_path / "run")
    found = provenance.provenance(config, contents)
    monkeypatch.setattr(Process, "broadcast_text", lambda self, text: text or json.dumps(found))
    monkeypatch.setattr(provenance, "provenance", lambda *_: pytest.fail("walked all rows"))

    assert provenance.shared_provenance(config, contents, Process(3, 4, torch.device("cpu"))) == found


def test_a_checkpoint_has_it(shards: Path, tmp_path: Path) -> None:
    config = small(shards, tmp_path / "run", steps=3)
    alone(config)
    about = json.loads((checkpoint.find(tmp_path / "run").path / checkpoint.METADATA).read_text())
    assert about["provenance"] == provenance.provenance(config, manifest.read(shards))
