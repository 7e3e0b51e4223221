"""The interpreter exits even if a loader process does not."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from data_shards.shards import manifest
from harnet import console
from pretrain.data.loading import local_batches
from pretrain.parallel.distributed import Process
from tests.pretrain.runs import small

ROOT = Path(__file__).parents[2]


def leave_with_a_loader_that_is_stuck(shards: str, out: str) -> None:
    """Read something, then exit while the loader is stuck, as one that waits for a dead file system is."""
    order = small(Path(shards), Path(out)).order()
    batches = local_batches(manifest.read(Path(shards)), "train", order, Process(0, 1, torch.device("cpu")), workers=1)
    next(batches)
    children = multiprocessing.active_children()
    for child in children:
        os.kill(child.pid or 0, signal.SIGSTOP)
    print(*(child.pid for child in children), flush=True)
    sys.exit(3)


def test_a_loader_that_is_stuck_does_not_keep_the_interpreter_from_ending(shards: Path, tmp_path: Path) -> None:
    name = "leave_with_a_loader_that_is_stuck"
    code = f"from tests.pretrain.test_exit import {name} as leave; leave({str(shards)!r}, {str(tmp_path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        stuck, _ = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 3
    (pid,) = map(int, stuck.split())
    assert not Path(f"/proc/{pid}").exists()


def test_torchrun_is_told_which_process_failed_and_why(tmp_path: Path) -> None:
    """torchrun gives each process a file name, and shows what the first process to fail wrote there."""
    told = tmp_path / "error.json"
    command = [sys.executable, "-m", "pretrain", "--data.shards", str(tmp_path / "nowhere"), "--run.out", str(tmp_path)]
    environment = os.environ | {"TORCHELASTIC_ERROR_FILE": str(told)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == console.USER_MISTAKE
    assert "no manifest" in json.loads(told.read_text())["message"]["message"]
    assert len(done.stderr.splitlines()) == 1, "and the user is told in one line, as ever"
