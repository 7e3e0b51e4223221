"""Running independent work items on the processes of one machine."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from data_shards.pool import Killed, map_unordered
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
    killed: Callable[[Item, str], Result] | None = None,
    counts: Callable[[Item], int] = lambda item: 1,
) -> list[Result]:
    """`[work(item) for item in items]` on `workers` processes, or in this process if `workers` is 1.

    The first exception stops everything: items that have not started are dropped, running ones are awaited. If a worker
    is killed, the items that were running are retried one at a time. An item whose process dies again is fatal, unless
    `killed` is given: then its result is `killed(item, how)` and the others continue. With `killed`, even a single
    worker gets its own process. In the progress bar an item counts for `counts(item)`; what `total` exceeds their sum
    by was done before.

    Raises:
        HarnetError: `workers` is less than 1, or an item killed its process.
    """
    if workers < 1:
        raise HarnetError(f"--workers {workers}: must be at least 1")
    amount = sum(map(counts, items))
    total = amount if total is None else total
    with bar(total, description, unit, initial=total - amount) as shown:
        if len(items) <= 1 or (workers == 1 and killed is None):
            results = []
            for item in items:
                results.append(work(item))
                shown.update(counts(item))
            return results
        found: dict[int, Result] = {}
        for place, result in map_unordered(work, items, workers):
            if not isinstance(result, Killed):
                found[place] = result
            elif killed is not None:
                found[place] = killed(items[place], result.how)
            else:
                raise HarnetError(
                    f"--workers {workers}: a worker was {result.how}, with nothing else running: finished work is "
                    "kept; run the same command on a machine with more memory"
                )
            shown.update(counts(items[place]))
        return [found[place] for place in range(len(items))]
