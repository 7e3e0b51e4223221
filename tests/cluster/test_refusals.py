"""Requests that are refused before anything is queued: one line that names the value and says what to do."""

import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harnet.run_folder import SUBMISSIONS
from launch.cli import main
from launch.records import append
from pretrain.command import Command
from tests.cluster.cluster import Cluster
from tests.cluster.submitted import options
from tests.pretrain.runs import alone


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Return the one line of error that a command line fails with."""
    capsys.readouterr()
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


MANY = {"data_lanes": 24, "data_batch": 24}


@pytest.mark.parametrize(
    ("submit", "site", "changes", "says"),
    [
        ([], 'partition = "nosuch"', {}, "partition 'nosuch' is not on this cluster; one of: grace, high, main, own"),
        (["--gpus-per-node", "3"], "", MANY, "--gpus-per-node is 3; the nodes of"),
        (["--nodes", "12"], "", {}, "Slurm rejects the job: "),
        (["--nodes", "24", "--gpus-per-node", "1"], "", MANY, "--nodes is 24; this cluster has 12 nodes with 1 GPUs"),
        ([], '[sbatch]\naccount = "x"\nnodelist = "n9"', {}, "Slurm rejects the job: "),
        ([], "", {"data_lanes": 3}, "data.lanes is 3 and data.batch is 12; both must be multiples of 2: 2 nodes x 1"),
        (["--nodes", "4", "--min-nodes", "3"], "", {"data_lanes": 4}, "both must be multiples of 3: 3 nodes"),
        (["--nodes", "3", "--min-nodes", "4"], "", {}, "--min-nodes is 4"),
        ([], "shared = []", {}, "a local disk that other nodes cannot see"),
        ([], "", {"data_shards": "nowhere"}, "nowhere: no manifest.parquet"),
    ],
)
def test_nothing_is_queued(
    cluster: Cluster, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    submit: list[str], site: str, changes: dict[str, Any], says: str,
) -> None:  # fmt: skip
    profile = tmp_path / "site.toml"
    profile.write_text((site if "shared" in site else 'shared = ["/"]\n' + site) + "\n")
    before = cluster.ask("squeue", "-h", "-t", "all", "-o", "%A")
    arguments = options(shards, tmp_path / "run", **changes)
    given = ["--nodes", "2", *submit] if "--nodes" not in submit else submit
    assert says in refused(capsys, "submit", "pretrain", "--profile", str(profile), *given, *arguments)
    assert cluster.ask("squeue", "-h", "-t", "all", "-o", "%A") == before


@pytest.mark.parametrize("array", [["ingest", "."], ["shard", "nowhere"]])
def test_the_part_is_not_the_users_to_give(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], array: list[str]
) -> None:
    assert "--part 1/2: each array task gets its own" in refused(
        capsys, "submit", *array, "--out", "o", "--part", "1/2"
    )


def test_a_run_folder_of_another_run_is_refused(
    cluster: Cluster, shards: Path, tmp_path: Path, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submit = ["submit", "pretrain", "--profile", str(profile)]
    config = Command.parse("x", options(shards, tmp_path / "trained", run_steps=4)).options
    alone(config)
    other = options(shards, tmp_path / "trained", run_steps=4, run_seed=1)
    assert "run.seed was 0, now 1" in refused(capsys, *submit, *other)

    queued = replace(config, run=replace(config.run, out=tmp_path / "queued"))
    append(queued.run.out, SUBMISSIONS, {"job": "1", "config": queued.as_dict()})
    other = options(shards, tmp_path / "queued", run_steps=5)
    assert "run.steps was 4, now 5" in refused(capsys, *submit, *other)


def test_a_dry_run_prints_the_script_and_leaves_nothing(
    cluster: Cluster, shards: Path, tmp_path: Path, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = 'modules = ["cuda/12"]\ncontainer = "/images/h 1.sif"\n[environment]\nNCCL_SOCKET_IFNAME = "ib0"\n'
    profile.write_text(profile.read_text() + site)
    arguments = options(shards, tmp_path / "run")
    capsys.readouterr()
    submit = ["--nodes", "4", "--min-nodes", "3", "--gpus-per-node", "1", "--profile", str(profile), "--dry-run"]
    assert main(["submit", "pretrain", *submit, *arguments]) == 0
    script = capsys.readouterr().out
    for line in ("#SBATCH --nodes=3-4", "#SBATCH --gpus-per-node=1", "#SBATCH --requeue", "#SBATCH --partition=main",
                 "module load cuda/12", "export NCCL_SOCKET_IFNAME=ib0"):  # fmt: skip
        assert line in script.splitlines()
    command = shlex.split(script.strip().splitlines()[-1])
    assert command[:5] == ["exec", sys.executable, "-P", "-m", "launch.job"], "the job's own process stays outside"
    assert command[command.index("--task") + 1] == "apptainer exec --nv '/images/h 1.sif' python"
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_not_all_nodes_see_ends_the_job_at_once(cluster: Cluster, tmp_path: Path) -> None:
    done = subprocess.run(
        ["srun", "-N1", sys.executable, "-m", "launch.task", str(tmp_path / "nowhere")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 78
    assert "must be on a file system that all nodes see" in done.stderr


def test_doctor_tries_two_nodes_together(
    cluster: Cluster, tmp_path: Path, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    main(["doctor", "--folder", str(tmp_path), "--profile", str(profile), "--nodes", "2"])
    found = capsys.readouterr().out
    assert "good  Slurm: slurm-wlm" in found
    assert "good  2 nodes: 2 processes on cpu: all-reduce at " in found
    profile.write_text(profile.read_text() + '[environment]\nGLOO_SOCKET_IFNAME = "nosuch0"\n')
    assert main(["doctor", "--folder", str(tmp_path), "--profile", str(profile), "--nodes", "2"]) == 1
    assert "FIX   2 nodes: " in capsys.readouterr().out


def test_without_slurm_or_submitit_one_line_says_so(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "empty"))
        assert "sbatch and srun are not on the PATH" in refused(
            capsys, "submit", "pretrain", *options(shards, tmp_path / "run")
        )
    if shutil.which("sbatch") is None:
        pytest.skip("needs Slurm's commands for the rest: apt-get install slurm-wlm munge iproute2")
    monkeypatch.setitem(sys.modules, "submitit", None)
    error = refused(capsys, "submit", "pretrain", *options(shards, tmp_path / "run"))
    assert error.strip() == "harnet submit: needs the package 'submitit': pip install 'harnet[train]'"
