"""Batched inference over many recordings: full batches across hours and recordings, prefetched.

Every batch has the same shape, and the last one is padded with zeros, so the output for a window depends neither on
the other windows in its batch nor on their number.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harnet.determinism import deterministic_convolutions
from harnet.errors import HarnetError
from harnet.prefetch import prefetched

Pieces = Iterable[tuple[NDArray[np.int64], NDArray[np.float32]]]
"""Starts (n,) in seconds since 1970 on the recording's clock, and windows (n, 3, L) in g; n may be 0."""

Precision = Literal["fp32", "bf16"]
"""Numerical precision of the model: float32, or bfloat16 by autocast."""

T = TypeVar("T")
R = TypeVar("R")

_NONE = np.empty(0, np.int64)


@dataclass(frozen=True)
class Share:
    """The consecutive rows of a batch that belong to one recording; they follow the rows of the previous share."""

    place: int
    """Index of the recording in the given sequence."""
    starts: NDArray[np.int64]
    """(n,) start times of its windows in this batch; n may be 0."""
    ended: bool = False
    """Whether this is the last share of the recording."""
    error: HarnetError | None = None
    """Why the recording could not be read to its end."""


@dataclass(frozen=True)
class InferenceBatch:
    """Windows for one pass through the model."""

    windows: Tensor | None
    """(batch, 3, L) float32 in g, zero-padded after the last share; None if no share has any rows."""
    shares: tuple[Share, ...]
    """The recordings that the rows belong to, in order."""


def outputs(
    model: nn.Module,
    recordings: Sequence[Callable[[], Pieces]],
    batch: int,
    finish: Callable[[Tensor], Tensor],
    precision: Precision = "fp32",
    threads: int = 1,
) -> Iterator[tuple[Share, NDArray[np.float32]]]:
    """Yield each share with its outputs, finish(model(windows)), (n, K) float32; recordings in order.

    `model` is in evaluation mode on its device and processes `batch` windows at a time. On a CPU, `threads` batches are
    computed at the same time. Set torch to one thread for that: with intra-op parallelism the threads wait for each
    other at the end of every operation, hundreds of times a batch. Meanwhile the next batch is prefetched in a thread
    and the results of the previous ones are yielded. The last share of a recording has `ended` set. A `HarnetError`
    while reading a recording ends only that recording.
    """
    device = next(model.parameters()).device
    launch = partial(_launch, model, device, finish, precision)
    filled = prefetched(batches(recordings, batch, device), depth=1)
    # torch's defaults would use TF32, with a 10-bit mantissa, for fp32. The flags apply to all threads of the process.
    with deterministic_convolutions():
        for batch_, (found, event) in map_in_order(launch, filled, threads if device.type == "cpu" else 1):
            yield from _by_share(batch_, found, event)


def batches(recordings: Sequence[Callable[[], Pieces]], size: int, device: torch.device) -> Iterator[InferenceBatch]:
    """Fill batches of `size` windows from consecutive pieces and recordings; in pinned memory for a GPU."""
    pinned = device.type == "cuda"
    if pinned:
        # Runs in a thread of its own, whose default device is the first GPU: pinning would allocate memory there.
        torch.cuda.set_device(device)
    windows, used, shares = None, 0, list[Share]()
    for place, pieces in enumerate(recordings):
        error = None
        try:
            for starts, values in pieces():
                done = 0
                while done < len(starts):
                    if windows is None:
                        windows = torch.empty(size, *values.shape[1:], dtype=torch.float32, pin_memory=pinned)
                    taken = min(size - used, len(starts) - done)
                    windows[used : used + taken] = torch.from_numpy(values[done : done + taken])
                    shares.append(Share(place, starts[done : done + taken]))
                    done, used = done + taken, used + taken
                    if used == size:
                        yield InferenceBatch(windows, tuple(shares))
                        windows, used, shares = None, 0, []
        except HarnetError as found:
            error = found
        shares.append(Share(place, _NONE, ended=True, error=error))
    if windows is not None:
        windows[used:] = 0
    if shares:
        yield InferenceBatch(windows, tuple(shares))


def map_in_order(work: Callable[[T], R], items: Iterable[T], threads: int) -> Iterator[tuple[T, R]]:
    """Yield (item, work(item)) in the order of `items`; `threads` of them run at a time and one more is queued."""
    with ThreadPoolExecutor(threads, "inference") as pool:
        pending: deque[tuple[T, Future[R]]] = deque()
        for item in items:
            pending.append((item, pool.submit(work, item)))
            if len(pending) > threads:
                first, result = pending.popleft()
                yield first, result.result()
        for item, result in pending:
            yield item, result.result()


def _launch(
    model: nn.Module, device: torch.device, finish: Callable[[Tensor], Tensor], precision: Precision,
    batch: InferenceBatch,
) -> tuple[Tensor | None, Any]:  # fmt: skip
    """Compute a batch; returns its outputs on the CPU and, with a GPU, the event that marks them complete."""
    if batch.windows is None:
        return None, None
    half = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), half:
        found = finish(model(batch.windows.to(device, non_blocking=True))).float().to("cpu", non_blocking=True)
    if device.type != "cuda":
        return found, None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return found, event


def _by_share(batch: InferenceBatch, found: Tensor | None, event: Any) -> Iterator[tuple[Share, NDArray[np.float32]]]:
    if event is not None:
        event.synchronize()
    rows = np.empty((0, 0), np.float32) if found is None else found.numpy()
    done = 0
    for share in batch.shares:
        yield share, rows[done : done + len(share.starts)]
        done += len(share.starts)
