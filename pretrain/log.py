"""What a run says while it goes: a line of JSON an interval, the same numbers for TensorBoard."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from torch.utils.tensorboard import SummaryWriter

from harnet.files import write_atomically

FILE_NAME = "log.jsonl"


class Log:
    """Writes `log.jsonl` and `tensorboard/` in a run folder; does nothing on any rank but the first.

    When a run resumes at a step, what was logged after that step is dropped, and the held-out loss of the step itself:
    those are done again.
    """

    def __init__(self, run: Path, resumed_at: int, active: bool) -> None:
        self._path, self._tensorboard = run / FILE_NAME, None
        if active:
            kept = [row for row in read(run) if row["step"] < resumed_at + (row["kind"] == "train")]
            write_atomically(self._path, "".join(json.dumps(row) + "\n" for row in kept))
            self._tensorboard = SummaryWriter(str(run / "tensorboard"), purge_step=resumed_at + 1)

    def write(self, kind: str, step: int, values: Mapping[str, float]) -> None:
        """Log numbers of a step; `kind` is "train" or "heldout"."""
        if self._tensorboard is None:
            return
        with self._path.open("a") as file:
            file.write(json.dumps({"kind": kind, "step": step} | dict(values)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        for name, value in values.items():
            self._tensorboard.add_scalar(f"{kind}/{name}", value, step)

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tensorboard is not None:
            self._tensorboard.close()


def read(run: Path) -> list[dict]:
    """All complete lines of a run's log; a last line that was cut by a kill is left out."""
    path = run / FILE_NAME
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]
