"""Killed runs and concurrent runs, forked from a fresh interpreter so that one import serves all.

python -m tests.data_shards.killed_runs killed|at-once WHAT FOLDER ARGUMENTS...
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, writer
from data_shards.shards.purge import purge_shards
from data_shards.shards.shard_plan import ShardOptions
from data_shards.shards.verify_shards import verify_shards
from data_shards.withdrawals import read_ids
from harnet.parts import Part

STEPS = ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir")
"""Audit events that count as one step on the file system."""


def shard(folder: Path, cohort: str, part: str = "1/1") -> None:
    options = ShardOptions(blocks_per_shard=4, quality=POLICIES["none"])
    writer.write_shards(Cohort.open(Path(cohort)), folder, options, part=Part.parse(part))


def purge(folder: Path, ids: str) -> None:
    assert not purge_shards(folder, read_ids(Path(ids))).searched.found


def forked(action: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    os._exit(0)


def killed_before(step: int, folder: Path, action: Callable[[], None]) -> None:
    left = step

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if event in STEPS and str(folder) in str(arguments[0]):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    action()


def killed(folder: Path, action: Callable[[], None]) -> None:
    """Kill one run after another, each a step later than the one it resumes, until a run completes."""
    for step in range(1, 1000):
        status = os.waitpid(forked(lambda step=step: killed_before(step, folder, action)), 0)[1]
        closed = (folder / manifest.PURGE_MARK).exists() or not (folder / manifest.FILE_NAME).exists()
        assert closed or not verify_in_fork(folder), "an open folder with stale content"
        if status == 0:
            print(f"{step} steps")
            return
        assert os.WIFSIGNALED(status), status


def verify_in_fork(folder: Path) -> int:
    """Verify in a child: the parent must not start threads, which forked processes would lack."""

    def check() -> None:
        assert verify_shards(folder) == []

    return os.waitpid(forked(check), 0)[1]


def at_once(actions: list[Callable[[], None]]) -> None:
    codes = [os.waitpid(pid, 0)[1] for pid in [forked(action) for action in actions]]
    assert codes == [0] * len(actions), codes


if __name__ == "__main__":
    how, what, target, *more = sys.argv[1:]
    run = {"shard": shard, "purge": purge}[what]
    if how == "killed":
        killed(Path(target), lambda: run(Path(target), *more))
    else:
        first, *parts = more
        at_once([lambda part=part: run(Path(target), first, part) for part in parts])
