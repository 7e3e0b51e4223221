"""An item that kills its worker process is found, reported and skipped; all others are done."""

import os
import signal
import time
from pathlib import Path

import pytest

from data_shards.parallel import run_all
from harnet.errors import HarnetError


def work(item: int) -> int:
    """The square; a negative item is the signal that kills the process."""
    if item < 0:
        os.kill(os.getpid(), -item)
    if item == 13:
        raise HarnetError("13 is refused")
    return item * item


def killed(item: int, how: str) -> int:
    assert how.startswith("killed by " + signal.Signals(-item).name), how
    return item


def test_what_kills_its_worker_is_told_and_the_rest_is_done() -> None:
    items = [1, 2, -signal.SIGKILL, 3, 4, -signal.SIGSEGV, 5]
    found = run_all(work, items, 2, "test", "piece", killed=killed)
    assert found == [item if item < 0 else item * item for item in items]


def test_without_a_place_for_it_the_job_stops_and_says_how() -> None:
    with pytest.raises(HarnetError, match=r"--workers 2: a worker was killed by SIGKILL \(out of memory\?\)"):
        run_all(work, [1, 2, -signal.SIGKILL], 2, "test", "piece")


def once(path: Path) -> str:
    """Items a and b are both in work when their first attempt dies: neighbours of an item that took all the memory."""
    first = not path.exists()
    path.touch()
    if first and path.name in "ab":
        while not all((path.parent / name).exists() for name in "ab"):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


def test_who_only_died_beside_others_is_done(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in "abc"]
    assert run_all(once, paths, 2, "test", "piece") == ["a", "b", "c"]


def test_exceptions_keep_their_way_beside_killed_workers() -> None:
    with pytest.raises(HarnetError, match="13 is refused"):
        run_all(work, [-signal.SIGKILL, 13], 2, "test", "piece", killed=killed)
