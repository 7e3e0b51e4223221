"""Kills work at a given system call: forked from a warm interpreter, and stopped at each call by ptrace.

Works on Linux, on x86-64 and ARM alike: each call shows as two stops, on entry and on exit. All threads of the child
are traced and counted together.
"""

import contextlib
import ctypes
import importlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data_shards.cohort import verify_cohort as stores
from data_shards.cohort.store import Cohort
from data_shards.ingest.run import IngestOptions, ingest
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, verify_shards, writer
from data_shards.shards.shard_plan import ShardOptions
from data_shards.synthetic.make import synthesise
from data_shards.synthetic.synth_options import SynthOptions
from harnet import run_folder
from pretrain.run import checkpoint

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
_LIBC.ptrace.restype = ctypes.c_long
_TRACEME, _SYSCALL, _SETOPTIONS = 0, 24, 0x4200
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x100000
"""Mark stops at system calls; follow forks and threads; kill the child when this process exits."""
_AT_CALL = signal.SIGTRAP | 0x80
_ALL = 0x40000000
"""__WALL: threads, too."""


def forked(action: Callable[[], None]) -> bool:
    """Whether an action, run in a child process, completed."""
    pid = os.fork()
    if not pid:
        _child(action)
    return os.waitpid(pid, 0)[1] == 0


def killed_at(call: int, action: Callable[[], None]) -> int:
    """Run an action in a child and kill it at its `call`-th system call (0: never); returns its number of calls."""
    pid = os.fork()
    if not pid:
        _LIBC.ptrace(_TRACEME, 0, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        _child(action)
    os.waitpid(pid, _ALL)
    _LIBC.ptrace(_SETOPTIONS, pid, None, _OPTIONS)
    _LIBC.ptrace(_SYSCALL, pid, None, None)
    calls, inside = 0, dict[int, bool]()
    while True:
        who, status = os.waitpid(-1, _ALL)
        if not os.WIFSTOPPED(status):
            if who == pid:
                return calls
            continue
        stopped_by, passed_on = os.WSTOPSIG(status), 0
        if stopped_by == _AT_CALL:
            inside[who] = not inside.get(who, False)
            calls += inside[who]
            if calls == call:
                os.kill(pid, signal.SIGKILL)
        elif stopped_by not in (signal.SIGTRAP, signal.SIGSTOP):
            passed_on = stopped_by
        _LIBC.ptrace(_SYSCALL, who, None, passed_on)


def _child(action: Callable[[], None]) -> None:
    code = 1
    try:
        with contextlib.redirect_stderr(open(os.devnull, "w")):  # progress bars
            action()
        code = 0
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    finally:
        os._exit(code)


def warm(action: Callable[[], None]) -> None:
    """Import everything that the actions import, so that only system calls of the work itself are counted."""
    with tempfile.NamedTemporaryFile("r") as names:
        path = Path(names.name)

        def told() -> None:
            action()
            path.write_text("\n".join(name for name in sys.modules if "__main__" not in name))

        assert forked(told)
        threads = len(os.listdir("/proc/self/task"))
        for name in names.read().split():
            with contextlib.suppress(Exception):
                importlib.import_module(name)
    # More than this thread would not be there after a fork.
    assert len(os.listdir("/proc/self/task")) == threads


@dataclass(frozen=True)
class Work:
    """Work to kill; all three functions take the folder that it works in."""

    prepare: Callable[[Path], None]
    """Creates the initial state."""
    do: Callable[[Path], None]
    """Does the work."""
    valid: Callable[[Path], None]
    """Raises if the state after a kill is invalid."""


def save_checkpoint(run: Path, step: int) -> None:
    """A small checkpoint whose tensors depend on its step."""
    tensors = {run_folder.NETWORK: {"weight": torch.full((64, 64), float(step))}}
    optimizer = {"state": {0: {"step": torch.tensor(float(step))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    checkpoint.save(run, step, tensors, optimizer, {"config": {}}, keep=2)


def _two_saved(folder: Path) -> None:
    save_checkpoint(folder / "run", 1)
    save_checkpoint(folder / "run", 2)


def _a_checkpoint(folder: Path) -> None:
    found = checkpoint.find(folder / "run")
    assert found.step in (2, 3)
    assert (found.network()["weight"] == found.step).all()


def _shard(folder: Path) -> None:
    options = ShardOptions(blocks_per_shard=1, quality=POLICIES["none"])
    writer.write_shards(Cohort.open(folder / "cohort.zarr"), folder / "shards", options)


def _no_stale_shards(folder: Path) -> None:
    if (folder / "shards" / manifest.FILE_NAME).exists():
        assert not verify_shards.verify_shards(folder / "shards")


def _a_table(folder: Path) -> None:
    times = 1_700_000_400 + np.arange(5000) / 50
    draws = np.random.default_rng(0).normal([0, 0, 1], 0.05, (5000, 3))
    rows = np.column_stack([times, draws])
    np.savetxt(folder / "p.csv", rows, fmt="%.4f", delimiter=",", header="time,x,y,z", comments="")


def _ingest(folder: Path) -> None:
    outcomes, _ = ingest([folder / "p.csv"], folder / "cohort.zarr", IngestOptions())
    assert outcomes[0].status in ("ingested", "already there")


def _whole_recordings(folder: Path) -> None:
    if (folder / "cohort.zarr" / "zarr.json").exists():
        assert not stores.verify_cohort(folder / "cohort.zarr").problems


WORK = {
    "save": Work(_two_saved, lambda folder: save_checkpoint(folder / "run", 3), _a_checkpoint),
    "shard": Work(
        lambda folder: synthesise(folder / "cohort.zarr", 2, SynthOptions(hours=1)) and None, _shard, _no_stale_shards
    ),
    "ingest": Work(_a_table, _ingest, _whole_recordings),
}


def content(folder: Path) -> dict[str, bytes]:
    """Every file, except the index of a store, which holds the times at which recordings were written."""
    files = (path for path in folder.rglob("*") if path.is_file() and ".index" not in path.parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def table(every: int) -> dict[str, dict[str, int]]:
    """Work -> number of system calls, of kills, of invalid states left, and of second runs with a different result.

    To be called before anything in this process has started a thread.
    """
    found = {}
    for name, work in WORK.items():
        with tempfile.TemporaryDirectory() as parent:
            start, whole = Path(parent) / "start", Path(parent) / "whole"
            start.mkdir()
            assert forked(lambda work=work, start=start: work.prepare(start))  # type: ignore[misc]
            shutil.copytree(start, whole)
            shutil.copytree(start, Path(parent) / "warm")
            warm(lambda work=work, parent=parent: work.do(Path(parent) / "warm"))  # type: ignore[misc]
            calls = killed_at(0, lambda work=work, whole=whole: work.do(whole))  # type: ignore[misc]
            counts = {"calls": calls, "kills": 0, "invalid": 0, "different": 0}
            for call in range(every, calls + 1, every):
                tried = shutil.copytree(start, Path(parent) / "tried")
                killed_at(call, lambda: work.do(tried))  # noqa: B023
                counts["kills"] += 1
                counts["invalid"] += not forked(lambda: work.valid(tried))  # noqa: B023
                counts["different"] += not forked(lambda: work.do(tried)) or content(tried) != content(whole)  # noqa: B023
                shutil.rmtree(tried)
            print(f"{name}: {counts}", file=sys.stderr, flush=True)
            found[name] = counts
    return found
