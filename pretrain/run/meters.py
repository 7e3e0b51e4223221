"""Means over a log interval and all ranks, without synchronising with the device at every step."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from pretrain.parallel.distributed import Process
from pretrain.run.memory import allocator_troubles, peak_gib


class Meters:
    """Accumulates the metrics of steps and returns their means per interval.

    `window_share` is the FLOPs of training on one window divided by the peak FLOP/s of one device: the seconds that a
    window would take at best.
    """

    def __init__(self, process: Process, window_share: float) -> None:
        self._process, self._window_share = process, window_share
        self._skipped = 0
        self._reset()

    def _reset(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps, self._windows, self._rate = 0, 0, 0.0
        self._waited, self._since = 0.0, time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Time spent inside counts as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time spent inside is not counted, so that evaluation does not make training look slow."""
        start = time.perf_counter()
        yield
        self._since += time.perf_counter() - start

    def add(self, values: Mapping[str, Tensor], windows: int, rate: float, skipped: int) -> None:
        """Add a step: scalars of this rank, windows of the global batch, learning rate, blocks skipped."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps, self._windows, self._rate = self._steps + 1, self._windows + windows, rate
        self._skipped += skipped

    def means(self) -> dict[str, float]:
        """Means since the last call, then start a new interval; every rank must call it.

        Blocks skipped as damaged are counted from the start or resumption of the run.
        """
        seconds = time.perf_counter() - self._since
        world, device = self._process.world, self._process.device
        counted = [self._waited / seconds, self._skipped, *allocator_troubles(device)]
        own = torch.tensor(counted, dtype=torch.float64, device=device)
        total = torch.cat([torch.stack([value.double() for value in self._sums.values()]), own])
        *sums, waited, skipped, retries, failures = self._process.sum(total).tolist()
        values = {name: value / (self._steps * world) for name, value in zip(self._sums, sums, strict=True)}
        speed = self._windows / seconds
        values |= {
            "learning_rate": self._rate,
            "windows_per_second": speed,
            "windows_per_second_per_process": speed / world,
            "share_waiting_for_data": waited / world,
            "model_flops_utilisation": speed / world * self._window_share,
            "memory_gib": peak_gib(device),
            "allocator_retries": retries,
            "out_of_memory": failures,
            "skipped_blocks": skipped,
        }
        self._reset()
        return values
