"""Profiler trace of some steps, for Perfetto (ui.perfetto.dev): a timeline of host and device."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from harnet.errors import HarnetError
from harnet.run_folder import TRACES
from pretrain.parallel.distributed import Process
from pretrain.validation import at_least


@dataclass(frozen=True)
class TraceConfig:
    """Which steps to trace: from `first` to `last`, on one rank."""

    first: int = 0
    """First step of the trace; 0 disables it. The first steps of a run compile and warm up: trace later ones."""
    last: int = 0
    """Last step of the trace."""
    rank: int = 0
    """Rank to trace."""

    def __post_init__(self) -> None:
        at_least(0, "trace", {"first": self.first, "rank": self.rank})
        if self.first and self.last < self.first:
            raise HarnetError(f"trace.last is {self.last}; it must be at least trace.first = {self.first}")


class Trace:
    """Records the configured steps on the configured rank, and writes a file per recording."""

    def __init__(self, config: TraceConfig, process: Process, run: Path) -> None:
        self._steps = range(config.first, config.last + 1) if config.first and process.rank == config.rank else range(0)
        self._folder, self._rank, self._device = run / TRACES, process.rank, process.device
        self._recording: tuple[int, profile] | None = None

    def before(self, step: int) -> None:
        """Call before each step, counted from 1."""
        if step not in self._steps:
            self.close(step - 1)
        elif self._recording is None:
            activities = [ProfilerActivity.CPU]
            activities += [ProfilerActivity.CUDA] if self._device.type == "cuda" else []
            # torch 2.11 warns without `acc_events`, which changes nothing in a single recording.
            recorder = profile(activities=activities, record_shapes=True, acc_events=True)
            recorder.start()
            self._recording = step, recorder

    def close(self, last: int) -> None:
        """Write the recording, whose last step is `last`."""
        if self._recording is None:
            return
        (first, recorder), self._recording = self._recording, None
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        recorder.stop()
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"steps-{first}-{last}-process-{self._rank}.json.gz"
        recorder.export_chrome_trace(str(path))
        print(f"trace of steps {first} to {last}: {path}; open it at ui.perfetto.dev")
