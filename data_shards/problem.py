"""What `harnet verify` finds wrong, in a shard folder or a cohort store."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong."""

    where: str
    """File or folder, and block where it is one."""
    what: str
    """What was expected and found."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; {self.remedy}"
