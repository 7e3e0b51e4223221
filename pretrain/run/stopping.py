"""Early stopping on the held-out loss."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class EarlyStopping:
    """Counts held-out losses since the best. All ranks see the same losses, so their counts agree."""

    patience: int
    """Stop after this many losses in a row without improvement; 0 never stops."""
    best: float | None = None
    """Lowest loss so far."""
    best_step: int = 0
    """Step of the lowest loss."""
    worse: int = 0
    """Number of losses since then."""
    last_step: int = 0
    """Step of the last loss, so that a loss that is recomputed after resuming is not counted twice."""

    def observe(self, step: int, loss: float) -> bool:
        """Record the loss after a step; return whether it is the best so far, which NaN never is."""
        if step <= self.last_step:
            return False
        self.last_step = step
        if loss < (math.inf if self.best is None else self.best):
            self.best, self.best_step, self.worse = loss, step, 0
            return True
        self.worse += 1
        return False

    @property
    def enough(self) -> bool:
        """Whether it is time to stop."""
        return 0 < self.patience <= self.worse

    def as_dict(self) -> dict[str, Any]:
        """State for a checkpoint: everything but the patience, which is an option."""
        values = asdict(self)
        del values["patience"]
        return values

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Restore the state from `as_dict`."""
        for name, value in saved.items():
            setattr(self, name, value)
