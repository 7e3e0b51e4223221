"""Many independent pieces of work: over the processes of one machine, and over the elements of a job array."""

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from harnet.errors import HarnetError
from harnet.progress import bar

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Part:
    """One element's share of a job array: every `count`-th item, beginning with item `number`.

    All elements list the same items in the same order, so no two share one and none is left out.
    """

    number: int
    """From 1 to `count`."""
    count: int
    """Elements in all."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise HarnetError(f"--part {self.number}/{self.count}: parts count from 1/{self.count} to {self.count}/"
                              f"{self.count}; with SLURM: --array=1-{max(self.count, 1)}")  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> "Part":
        """The third of a hundred from "3/100"; `HarnetError` for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
        if match is None:
            raise HarnetError(f"--part {text!r}: give NUMBER/COUNT, such as 3/100")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This part's items, in order."""
        return items[self.number - 1 :: self.count]


def run_all(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    description: str,
    unit: str,
    total: int | None = None,
) -> list[Result]:
    """`[work(item) for item in items]`, over `workers` processes if there are more than one.

    The first exception ends it: pieces not begun are dropped, pieces in work are waited for. `total`, if larger
    than the number of items, counts the difference as done before.

    Raises:
        HarnetError: `workers` is less than 1, or one of them was killed.
    """
    if workers < 1:
        raise HarnetError(f"--workers {workers}: give at least 1")
    total = len(items) if total is None else total
    with bar(total, description, unit, initial=total - len(items)) as shown:
        if workers == 1 or len(items) <= 1:
            results = []
            for item in items:
                results.append(work(item))
                shown.update()
            return results
        # Spawned, not forked: forking a process that has threads (torch, Blosc) can deadlock the child.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(items)), context, initializer=_follow_the_parent) as pool:
            futures = [pool.submit(work, item) for item in items]
            try:
                for future in as_completed(futures):
                    future.result()
                    shown.update()
            except BrokenProcessPool as error:
                raise HarnetError(
                    f"--workers {workers}: a worker was killed (out of memory?): what is finished is kept; run the "
                    "same command with fewer workers"
                ) from error
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
            return [future.result() for future in futures]


def _follow_the_parent() -> None:
    """In a worker: leave ctrl-C to the parent, and end when the parent is gone, even if it was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
