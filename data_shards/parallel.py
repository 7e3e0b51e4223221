"""Many independent pieces of work over a few processes, behind one progress bar."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from harnet.errors import HarnetError
from harnet.progress import bar

Item = TypeVar("Item")
Result = TypeVar("Result")


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
