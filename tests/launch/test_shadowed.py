"""In a folder with harnet.py, launch.py, pretrain.py or data_shards.py, our packages run instead of those files."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save
from launch.task import NON_RETRYABLE
from tests.launch.stand_ins import stand_in

ROOT = Path(__file__).parents[2]
NAMES = ("harnet", "launch", "pretrain", "data_shards")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one file for each of our package names, which prints a message if it runs."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the file of the user ran')\n")
    return tmp_path


def run(folder: Path, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run the command in that folder without `PYTHONPATH`, which would hide the problem."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    assert "the file of the user ran" not in done.stdout + done.stderr
    return done


def test_the_file_would_run(folder: Path) -> None:
    """A check of the setup: without shadowing the tests below would show nothing."""
    done = subprocess.run([sys.executable, "-m", "launch"], cwd=folder, capture_output=True, text=True)
    assert "the file of the user ran" in done.stderr


def test_the_console_script(folder: Path) -> None:
    program = Path(sys.executable).with_name("harnet")
    if not program.exists():
        pytest.skip("needs the console script: pip install -e .")
    assert "usage: harnet" in run(folder, str(program), "--help").stdout


@pytest.mark.parametrize("module", ["pretrain", "launch"])
def test_a_module_beside_files_of_the_other_names(folder: Path, module: str) -> None:
    """If the file has the module's own name, Python itself starts it; only the user can prevent that, with -P."""
    (folder / f"{module}.py").unlink()
    done = run(folder, sys.executable, "-m", module, "--help")
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
    (folder / f"{module}.py").write_text("raise SystemExit('the file of the user ran')\n")
    assert run(folder, sys.executable, "-m", module, "--help", PYTHONSAFEPATH="1").returncode == 0


def test_the_batch_script_its_job_and_its_tasks(folder: Path) -> None:
    commands = folder / "bin"
    commands.mkdir()
    # It runs one task, as srun would: the command after srun's own options.
    stand_in(commands, "srun", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@" 2>&1 | sed "s/^/0: /"; exit 78')
    stand_in(commands, "scontrol", 'echo "$@" >&2; echo "JobId=7 JobState=RUNNING Restarts=0"')
    slurm = {"JOB_ID": "7", "JOB_NODELIST": "n1", "JOB_NUM_NODES": "1", "NTASKS": "1", "PROCID": "0", "LOCALID": "0"}
    done = run(
        folder, "bash", str(ROOT / "slurm" / "pretrain.sbatch"), PATH=f"{commands}:{os.environ['PATH']}",
        PYTHON=sys.executable, CONFIG="harnet10", SHARDS="nowhere", OUT="run",
        SLURMD_NODENAME="n1", **{f"SLURM_{name}": value for name, value in slurm.items()},
    )  # fmt: skip
    assert done.returncode == NON_RETRYABLE
    assert "nowhere: no manifest.parquet" in done.stdout


def test_torch_hub(folder: Path) -> None:
    bundle = save(folder / "weights", PretextModel("harnet5").state_dict(), BundleConfig("harnet5", 5, "none"))
    for source in (bundle, ROOT):
        program = f"import torch; print(torch.hub.load({str(source)!r}, 'harnet5', source='local', class_num=5))"
        done = run(folder, sys.executable, "-c", program, PYTHONDONTWRITEBYTECODE="1")
        assert done.returncode == 0, done.stderr
        assert "ClassifierModel" in done.stdout
