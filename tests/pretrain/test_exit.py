"""The interpreter ends even if a loader process does not."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from data_shards.shards import manifest
from pretrain.data.loading import parts
from pretrain.parallel.distributed import Process
from tests.pretrain.runs import small

ROOT = Path(__file__).parents[2]


def leave_with_a_loader_that_is_stuck(shards: str, out: str) -> None:
    """Read something, then end while the loader is at a standstill, as one that waits for a dead file system is."""
    order = small(Path(shards), Path(out)).order()
    batches = parts(manifest.read(Path(shards)), "train", order, Process(0, 1, torch.device("cpu")), workers=1)
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
