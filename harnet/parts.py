"""Dividing independent work items over the tasks of a job array."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from harnet.errors import HarnetError

Item = TypeVar("Item")

WHOLE = "1/1"
"""The default of `--part`: all items, no job array."""


@dataclass(frozen=True)
class Part:
    """The share of one job-array task: every `count`-th item, starting with item `number`.

    All tasks list the same items in the same order, so every item belongs to exactly one task.
    """

    number: int
    """Number of this task, from 1 to `count`."""
    count: int
    """Number of tasks in the array."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise HarnetError(f"--part {self.number}/{self.count}: parts run from 1/{self.count} to {self.count}/"
                              f"{self.count}; with SLURM: --array=1-{max(self.count, 1)}")  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Parse "NUMBER/COUNT", such as "3/100"; `HarnetError` for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
        if match is None:
            raise HarnetError(f"--part {text!r}: give NUMBER/COUNT, such as 3/100")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This part's items, in order."""
        return items[self.number - 1 :: self.count]
