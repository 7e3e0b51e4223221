"""A job runs on another machine than the one that submits it, even on one node."""

import shutil
import socket
from pathlib import Path

import pytest

from launch import shared_files
from launch.cli import main
from tests.launch.stand_ins import stand_in


@pytest.fixture
def shared(commands: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The profile declares this as shared by all nodes; everything else is on a local disk."""
    folder = tmp_path / "shared"
    folder.mkdir()
    (tmp_path / "site.toml").write_text(f'shared = ["{folder}"]\npython = "{folder}/bin/python"\n')
    monkeypatch.setattr(shared_files, "LOCAL", shared_files.LOCAL | {shared_files.file_system(tmp_path)[0]})
    stand_in(commands, "sinfo", 'case "$*" in *%n*) echo n1; echo n2;; *) echo main;; esac')
    stand_in(commands, "scontrol", "echo MaxArraySize = 1001")
    stand_in(commands, "sbatch", "echo allocation failure: Invalid qos specification >&2; exit 1")
    stand_in(commands, "srun", "exit 1")
    return folder


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """The one line that `harnet submit` fails with."""
    assert main(["submit", arguments[0], "--profile", str(folder / "site.toml"), *arguments[1:]]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def training(places: dict[str, Path]) -> list[str]:
    given = {"data.batch": 12, "data.lanes": 12, "data.windows-per-visit": 16, "data.shuffle-windows": 24} | places
    return ["pretrain", *(word for name, value in given.items() for word in (f"--{name}", str(value)))]


def test_a_training_job_of_one_node_sees_no_disk_of_this_machine(
    commands: Path, shared: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path, shared):
        shutil.copytree(shards, folder / "shards")
        (folder / "gone.txt").write_text("nobody\n")
    names = {"data.shards": "shards", "data.exclude": "gone.txt", "run.out": "run"}
    seen = {name: shared / place for name, place in names.items()}
    assert "Slurm rejects the job" in refused(capsys, tmp_path, *training(seen))
    for name, what in (("data.shards", "shard folder"), ("data.exclude", "list of people"), ("run.out", "run folder")):
        here = tmp_path / names[name]
        error = refused(capsys, tmp_path, *training(seen | {name: here}))
        assert f"{here}: the {what} is on " in error
        assert "a local disk that other nodes cannot see" in error

    (hostname, *_) = socket.gethostname().split(".")
    stand_in(commands, "sinfo", f'case "$*" in *%n*) echo {hostname};; *) echo main;; esac')
    alone = refused(capsys, tmp_path, *training({name: tmp_path / place for name, place in names.items()}))
    assert "Slurm rejects the job" in alone, "the cluster is this machine"


def test_an_array_sees_no_disk_of_this_machine(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in (tmp_path, shared):
        (folder / "recordings").mkdir()
        (folder / "recordings" / "p1.csv").write_text("time,x,y,z\n")
    seen, unseen = str(shared / "recordings"), str(tmp_path / "recordings")
    assert "Slurm rejects the job" in refused(capsys, tmp_path, "ingest", seen, "--out", str(shared / "c.zarr"))
    assert f"{unseen}: the input is on " in refused(
        capsys, tmp_path, "ingest", seen, unseen, "--out", str(shared / "c.zarr")
    )
    assert "the output is on " in refused(capsys, tmp_path, "ingest", seen, "--out", str(tmp_path / "c.zarr"))
