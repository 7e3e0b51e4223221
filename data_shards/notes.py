"""What was dropped, mended or seen in a recording: counted, and of a few kinds, so that a cohort can be searched."""

from dataclasses import dataclass
from typing import Any

UNTYPED = "note"
"""Kind of a note that an earlier harnet stored as plain text."""


@dataclass(frozen=True)
class Note:
    """One kind of oddity in one recording. Prints as `duplicate samples: 120 (first at row 17)`."""

    kind: str
    """One of `data_shards.readers.oddities.ODDITIES`, or what a stage after the readers calls it."""
    count: int = 1
    """How many samples, lines, blocks or the like, as the kind says."""
    detail: str = ""
    """Where, of how many, or why: for people, in one line. Never a participant's name."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.count:,}" + (f" ({self.detail})" if self.detail else "")

    @classmethod
    def from_json(cls, value: "dict[str, Any] | str") -> "Note":
        """The inverse of `dataclasses.asdict`; plain text, as earlier stores hold it, is of the kind `UNTYPED`."""
        return cls(UNTYPED, 1, value) if isinstance(value, str) else cls(**value)
