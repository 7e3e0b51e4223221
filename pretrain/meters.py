"""Means over an interval of the run, over all processes, without waiting for the device in between."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from pretrain.distributed import Process


class Meters:
    """Collects what steps return and says what the interval was like."""

    def __init__(self, process: Process) -> None:
        self._process = process
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
        """Time spent inside counts for nothing: evaluation does not make training look slow."""
        start = time.perf_counter()
        yield
        self._since += time.perf_counter() - start

    def add(self, values: Mapping[str, Tensor], windows: int, rate: float) -> None:
        """Add a step: scalars of this process, windows of the global batch, learning rate."""
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
        self._steps, self._windows, self._rate = self._steps + 1, self._windows + windows, rate

    def means(self) -> dict[str, float]:
        """Means since the last call, then start anew; every process must call it."""
        total = torch.stack([value.double() for value in self._sums.values()])
        means = (self._process.sum(total) / (self._steps * self._process.world)).tolist()
        seconds = time.perf_counter() - self._since
        values = dict(zip(self._sums, means, strict=True)) | {
            "learning_rate": self._rate,
            "windows_per_second": self._windows / seconds,
            "share_waiting_for_data": self._waited / seconds,
        }
        self._reset()
        return values
