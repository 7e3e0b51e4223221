"""Rejections by Slurm, reported in its own words with a remedy; stand-ins use texts of slurm_errno.c (22.05)."""

import json
from pathlib import Path

import pytest

from launch.cli import main
from tests.launch.stand_ins import stand_in

ACCOUNT = "Invalid account or account/partition combination specified"
YOURS = "yours: sacctmgr show assoc user=$USER format=account,partition,qos"


@pytest.fixture(autouse=True)
def cluster(commands: Path, tmp_path: Path) -> None:
    """Slurm has one partition, main, and rejects every job; the profile names a wrong account."""
    some = '*--version*) echo slurm 22.05.8;; *%D*) echo 8;; *%G*) echo "n1|(null)"; echo "n2|(null)";;'
    stand_in(commands, "sinfo", f'case "$*" in {some} *) echo main;; esac')
    stand_in(commands, "sbatch", "exit 1")
    stand_in(commands, "srun", "exit 1")
    (tmp_path / "site.toml").write_text('shared = ["/"]\naccount = "nobody"\n')


def submit(shards: Path, folder: Path) -> list[str]:
    options = ["--data.shards", str(shards), "--run.out", str(folder / "run"), "--data.batch", "12"]
    more = ["--data.lanes", "12", "--data.windows-per-visit", "16", "--data.shuffle-windows", "24"]
    return ["submit", "pretrain", "--profile", str(folder / "site.toml"), *options, *more]


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (ACCOUNT, f"change `account` in the profile; {YOURS}"),
        ("Invalid qos specification", f"change `qos` in the profile; {YOURS}"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "lower `minutes` in the profile"),
        ("Invalid feature specification", "change `constraint` in the profile"),
        ("No partition specified or system default partition", "name a `partition` in the profile"),
        ("Requested node configuration is not available", "ask for fewer nodes"),
        ("Job dependency problem", "compare --profile and the options with sinfo"),
    ],
)
def test_a_refusal_says_what_mends_it(
    commands: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str, cure: str
) -> None:
    stand_in(commands, "sbatch", f'echo "allocation failure: {said}" >&2; exit 1')
    assert main(submit(shards, tmp_path)) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"harnet submit: Slurm rejects the job: sbatch: allocation failure: {said}; {cure}")
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (ACCOUNT, "Slurm rejects the job: sbatch: Batch job submission failed: Invalid account"),
        ("Socket timed out on send/recv operation", "first check with squeue --me whether harnet-run was queued"),
    ],
)
def test_what_only_the_queue_refuses_is_one_line_too(
    commands: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str, says: str
) -> None:
    failed = f'echo "sbatch: error: Batch job submission failed: {said}" >&2; exit 1'
    stand_in(commands, "sbatch", f'[ "$1" = --test-only ] && exit\n{failed}')
    assert main(submit(shards, tmp_path)) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run" / "slurm" / "submissions.jsonl").exists()


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        (f"srun: error: Unable to allocate resources: {ACCOUNT}", f"change `account` in the profile; {YOURS}"),
        (
            "slurmstepd: error: execve(): /home/me/python: No such file or directory",
            "the nodes cannot find this Python",
        ),
        ("no words of an error", "if the nodes cannot reach each other"),
        ("RuntimeError: Gloo connectFullMesh failed", "if the nodes cannot reach each other, set NCCL_SOCKET_IFNAME"),
    ],
)
def test_doctor_over_nodes_blames_the_network_only_where_nothing_else_is_named(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str, cure: str
) -> None:
    ended = "srun: error: n1: task 0: Exited with exit code 2"
    ended = ended if "rror:" in said and "allocate" not in said else ""
    stand_in(commands, "srun", f'echo "{ended}" >&2; echo "{said}" >&2; exit 1')
    assert main(["doctor", "--folder", str(tmp_path), "--nodes", "2"]) == 1
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith(f"FIX   2 nodes: {said}; {cure}")


def test_doctor_tells_of_a_wrong_partition_in_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text('partition = "gpu"\n')
    given = ["doctor", "--folder", str(tmp_path), "--profile", str(tmp_path / "site.toml"), "--nodes", "2", "--json"]
    assert main(given) == 1
    found = {each["what"]: each["text"] for each in json.loads(capsys.readouterr().out)}
    assert found["Slurm"] == found["2 nodes"] == "partition 'gpu' is not on this cluster; one of: main"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--processes-per-node", "0"], "--processes-per-node is 0; it must be at least 1"),
        (["--gpus-per-node", "-1"], "--gpus-per-node is -1; it must be at least 0"),
        (["--nodes", "0"], "--nodes is 0; it must be at least 1"),
    ],
)
def test_a_number_that_makes_no_job_is_a_wrong_option(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], says: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*submit(shards, tmp_path), *given])
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--profile", "."], ".: no such site profile"),
        (["--run.out", "file"], "file: is a file; pass a folder as --run.out"),
    ],
)
def test_a_file_for_a_folder_and_a_folder_for_a_file_are_one_line(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    given: list[str], says: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main([*submit(shards, tmp_path), *given]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_an_option_that_sbatch_has_not_is_named(
    commands: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "sbatch: unrecognized option '--nosuch=1'\nTry \"sbatch --help\" for more information"
    (commands / "said").write_text(said + "\n")
    stand_in(commands, "sbatch", f"cat {commands}/said >&2; exit 1")
    assert main(submit(shards, tmp_path)) == 1
    assert "Slurm rejects the job: sbatch: unrecognized option '--nosuch=1'; " in capsys.readouterr().err


def test_doctor_waits_for_no_nodes_that_the_cluster_has_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--folder", str(tmp_path), "--nodes", "3"]) == 1
    assert "FIX   3 nodes: --nodes is 3; this cluster has 2 nodes\n" in capsys.readouterr().out


def test_an_array_whose_check_was_not_taken_is_not_queued_twice(
    commands: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p1.csv").write_text("time,x,y,z\n")
    refusal = "echo sbatch: error: Batch job submission failed: Invalid qos specification >&2; exit 1"
    first = f"[ -e {commands}/queued ] || {{ touch {commands}/queued; echo Submitted batch job 7; exit; }}"
    stand_in(commands, "sbatch", f'[ "$1" = --test-only ] && exit\n{first}\n{refusal}')
    shown = "echo JobId=7 JobState=RUNNING Restarts=0"
    stand_in(commands, "scontrol", f'case "$*" in *config*) echo MaxArraySize = 1001;; *) {shown};; esac')
    out, profile = str(tmp_path / "c.zarr"), str(tmp_path / "site.toml")
    ingest = ["submit", "ingest", str(tmp_path / "p1.csv"), "--out", out, "--profile", profile]
    assert main(ingest) == 1
    assert "Slurm rejects the job: sbatch: Batch job submission failed: Invalid qos" in capsys.readouterr().err
    assert main(ingest) == 1
    assert f"{out}: jobs 7 are still working on it" in capsys.readouterr().err
