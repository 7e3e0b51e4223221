"""Log of a run: JSON Lines, and the same values in TensorBoard and an experiment tracker."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

from torch.utils.tensorboard import SummaryWriter

from harnet.files import write_atomically
from harnet.run_folder import LOG, TENSORBOARD, read_log


class Sink(Protocol):
    """Receives logged values."""

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step; `kind` is "train", "heldout" or "probe"."""

    def close(self) -> None:
        """Close it; nothing is written afterwards."""


class JsonLines:
    """`log.jsonl` in a run folder, which other programs read.

    When a run resumes at a step, entries after that step are dropped, and so are the held-out loss and the probe of
    the step itself, which are repeated.
    """

    def __init__(self, run: Path, resumed_at: int) -> None:
        self._path = run / LOG
        kept = [row for row in read_log(run) if row["step"] < resumed_at + (row["kind"] == "train")]
        write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in kept))

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Append a line and fsync it."""
        with self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "step": step} | dict(values)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def close(self) -> None:
        """Nothing to do: the file is not kept open."""


class TensorBoard:
    """`tensorboard/` in a run folder."""

    def __init__(self, run: Path, resumed_at: int) -> None:
        self._writer = SummaryWriter(str(run / TENSORBOARD), purge_step=resumed_at + 1)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(f"{kind}/{name}", value, step)

    def close(self) -> None:
        """Flush."""
        self._writer.close()


class Log:
    """Passes log entries to every sink; only rank 0 has any."""

    def __init__(self, sinks: Sequence[Sink]) -> None:
        self._sinks = sinks

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log the values of a step; `kind` is "train", "heldout" or "probe"."""
        for sink in self._sinks:
            sink.write(kind, step, values)

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sink in self._sinks:
            sink.close()
