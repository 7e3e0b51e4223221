"""Notes on what was dropped, repaired or observed in a recording, with a count and a fixed set of searchable kinds."""

from dataclasses import dataclass
from typing import Any

UNTYPED = "note"
"""Kind of a note that an older version stored as plain text."""


@dataclass(frozen=True)
class Note:
    """One kind of oddity in one recording. Prints as `duplicate samples: 120 (first at row 17)`."""

    kind: str
    """One of `data_shards.readers.oddities.ODDITIES`, or a kind defined by a later stage."""
    count: int = 1
    """Number of samples, lines, blocks or the like, depending on the kind."""
    detail: str = ""
    """Where, out of how many, or why: human-readable, in one line. Never a participant's name."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.count:,}" + (f" ({self.detail})" if self.detail else "")

    @classmethod
    def from_json(cls, value: "dict[str, Any] | str") -> "Note":
        """The inverse of `dataclasses.asdict`; plain text, as in older stores, gets the kind `UNTYPED`."""
        return cls(UNTYPED, 1, value) if isinstance(value, str) else cls(**value)
