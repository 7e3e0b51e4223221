"""Slurm's commands exist but its controller does not respond: one line with request, response and what to do."""

import json
from pathlib import Path

import pytest

from harnet import run_folder
from harnet.errors import HarnetError
from launch import records, slurm
from launch.cli import main
from launch.slurm import SlurmNotResponding
from pretrain.command import Command
from tests.launch.stand_ins import stand_in

REMEDY = "try again in a few minutes, or on a login node"


def silent(folder: Path) -> None:
    """All commands fail with the message of Slurm 22.05 when its controller is down."""
    for name, said in (
        ("sinfo", "slurm_load_partitions: Unable to contact slurm controller (connect failure)"),
        ("scontrol", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)"),
        ("sbatch", "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)"),
        ("srun", "srun: error: Unable to allocate resources: Unable to contact slurm controller (connect failure)"),
        ("scancel", "scancel: error: slurm_kill_job2() failed Unable to contact slurm controller (connect failure)"),
    ):
        stand_in(folder, name, f'[ "$1" = --version ] && echo slurm 22.05.8 && exit\necho "{said}" >&2; exit 1')


@pytest.mark.parametrize(
    ("stderr", "said"),
    [
        ("sinfo: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host\\n"
         "sinfo: fatal: Could not establish a configuration source", "Could not establish a configuration source"),
        ("slurm_load_partitions: Socket timed out on send/recv operation",
         "slurm_load_partitions: Socket timed out on send/recv operation"),
        ("sinfo: error: Protocol authentication error", "Protocol authentication error"),
        ("slurm_load_partitions: Zero Bytes were transmitted or received\\n\\n",
         "slurm_load_partitions: Zero Bytes were transmitted or received"),
    ],
)  # fmt: skip
def test_a_controller_out_of_reach_is_told_from_a_refusal(commands: Path, stderr: str, said: str) -> None:
    stand_in(commands, "sinfo", f'printf "{stderr}" >&2; exit 1')
    with pytest.raises(SlurmNotResponding) as caught:
        slurm.run_command("sinfo", "--format=%N|%G")
    assert str(caught.value).startswith(f"`sinfo '--format=%N|%G'`: Slurm does not respond ({said}); {REMEDY}")
    assert "\n" not in str(caught.value)

    stand_in(commands, "sinfo", 'echo "sinfo: error: Invalid node state specified" >&2; exit 1')
    with pytest.raises(HarnetError, match=r"^sinfo: Invalid node state specified$") as refused:
        slurm.run_command("sinfo")
    assert not isinstance(refused.value, SlurmNotResponding)
    stand_in(commands, "sinfo", "exit 3")
    with pytest.raises(HarnetError, match=r"^sinfo: failed without a message$"):
        slurm.run_command("sinfo")


def test_a_command_that_hangs_or_is_not_there_ends_in_one_line_too(
    commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(commands, "sinfo", "exec sleep 60")
    monkeypatch.setattr(slurm, "ANSWER_SECONDS", 0.2)
    with pytest.raises(
        SlurmNotResponding, match=r"^`sinfo -N`: Slurm does not respond \(nothing within 0.2 s\); try again"
    ):
        slurm.run_command("sinfo", "-N")
    monkeypatch.setenv("PATH", str(commands))
    with pytest.raises(HarnetError, match="scontrol is not on the PATH: run this on a login node") as caught:
        slurm.run_command("scontrol", "ping")
    assert not isinstance(caught.value, SlurmNotResponding), "waiting does not cure it"


def test_every_command_that_asks_slurm_says_what_to_do(
    commands: Path, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    silent(commands)
    run = tmp_path / "run"
    options = ["--data.shards", str(shards), "--run.out", str(run), "--data.batch", "8", "--data.lanes", "8"]
    contact = "Slurm does not respond (slurm_load_partitions: Unable to contact slurm controller (connect failure))"
    assert main(["submit", "pretrain", *options]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"harnet submit: `sinfo --noheader --format=%R`: {contact}; {REMEDY}")
    assert error.count("\n") == 1
    assert not run.exists()

    config = Command.parse("x", options).options.as_dict()
    records.append(run, run_folder.SUBMISSIONS, {"job": "7", "config": config})
    assert main(["status", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "unknown"
    asked = "`scontrol --oneliner show job 7`"
    assert found["detail"].startswith(f"{asked}: Slurm does not respond (slurm_load_jobs error: Unable to contact ")
    assert REMEDY in found["detail"]
    assert found["detail"].endswith("; running jobs continue")

    assert main(["cancel", str(run)]) == 1
    assert capsys.readouterr().err.startswith("harnet cancel: `scancel 7`: Slurm does not respond (")

    assert main(["doctor", "--folder", str(tmp_path)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line[6:].startswith("Slurm: ")]
    assert line.startswith("FIX   Slurm: `sinfo --noheader --format=%R`: ")
    assert REMEDY in line
