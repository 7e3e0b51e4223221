"""Many independent pieces of work, over the processes of one machine."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from data_shards.pool import Killed, spread
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
    """`[work(item) for item in items]`, over `workers` processes if there are more than one.

    The first exception ends it: pieces not begun are dropped, pieces in work are waited for. When a worker is killed,
    what was in work is done again, one piece at a time. A piece whose process dies then as well ends it too, unless
    there is `killed`: its result is then `killed(item, how)`, and the rest goes on. With `killed`, a single worker has
    a process of its own too. In the bar an item counts for `counts(item)`; of `total`, what is more than
    their sum was done before.

    Raises:
        HarnetError: `workers` is less than 1, or a piece killed its process.
    """
    if workers < 1:
        raise HarnetError(f"--workers {workers}: give at least 1")
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
        for place, result in spread(work, items, workers):
            if not isinstance(result, Killed):
                found[place] = result
            elif killed is not None:
                found[place] = killed(items[place], result.how)
            else:
                raise HarnetError(
                    f"--workers {workers}: a worker was {result.how}, with nothing else in work: what is finished is "
                    "kept; run the same command where there is more memory"
                )
            shown.update(counts(items[place]))
        return [found[place] for place in range(len(items))]
