"""Early stopping: enough of held-out losses that do not get better."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class EarlyStopping:
    """Counts held-out losses since the best. Every process sees the same losses, so all count alike."""

    patience: int
    """Losses in a row that are no better than the best, after which to stop; 0 never."""
    best: float | None = None
    """Lowest loss so far."""
    best_step: int = 0
    """Step at which it was found."""
    worse: int = 0
    """Losses since then."""
    last_step: int = 0
    """Step of the last loss, so that one that is computed again after a resumption is not counted twice."""

    def observe(self, step: int, loss: float) -> bool:
        """Take note of the loss after a step; return whether it is the best so far. A loss of NaN never is."""
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
        """What a checkpoint holds: all but the patience, which is an option."""
        values = asdict(self)
        del values["patience"]
        return values

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what `as_dict` gave."""
        for name, value in saved.items():
            setattr(self, name, value)
