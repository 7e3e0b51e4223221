"""A problem that `harnet verify` finds in a shard folder or a cohort store."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One problem."""

    where: str
    """File or folder, and block if it concerns one."""
    what: str
    """What was expected and what was found."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"
