"""Many independent pieces of work, over the elements of a job array."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from harnet.errors import HarnetError

Item = TypeVar("Item")

WHOLE = "1/1"
"""All of it: what `--part` is where there is no array."""


@dataclass(frozen=True)
class Part:
    """One element's share of a job array: every `count`-th item, beginning with item `number`.

    All elements list the same items in the same order, so no two share one and none is left out.
    """

    number: int
    """From 1 to `count`."""
    count: int
    """Elements in all."""

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise HarnetError(f"--part {self.number}/{self.count}: parts count from 1/{self.count} to {self.count}/"
                              f"{self.count}; with SLURM: --array=1-{max(self.count, 1)}")  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> "Part":
        """The third of a hundred from "3/100"; `HarnetError` for anything else."""
        match = re.fullmatch(r"(\d+)/(\d+)", text.strip(), re.ASCII)
        if match is None:
            raise HarnetError(f"--part {text!r}: give NUMBER/COUNT, such as 3/100")
        return cls(int(match[1]), int(match[2]))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """This part's items, in order."""
        return items[self.number - 1 :: self.count]
