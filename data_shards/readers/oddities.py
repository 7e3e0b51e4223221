"""The policy on oddities in device files, the same for every reader (documented in docs/oddities.md).

A reader counts oddities in a `Tally`, which refuses the recording if there are too many, and otherwise provides the
notes that are stored with the recording.
"""

from dataclasses import dataclass
from typing import Literal, get_args

from data_shards.notes import Note
from harnet.errors import HarnetError

REPAIR_SHARE = 0.01
"""Maximum share of a recording's samples that is repaired, with a note; a single sample always is."""

Kind = Literal[
    "duplicate samples",
    "backward times",
    "isolated stamps",
    "absurd values",
    "missing values",
    "missing temperatures",
    "foreign lines",
    "preamble lines",
    "blank lines",
    "cut end",
    "repeated fillers",
    "damaged blocks",
    "other sessions",
    "repeated blocks",
    "numbered again",
    "times spread",
    "flagged ranges",
]
"""The kinds of note that readers write."""


@dataclass(frozen=True)
class Oddity:
    """How one kind of oddity is handled."""

    meets: str
    """What was found in the file; the note counts these."""
    does: str
    """What the reader does with it."""
    advice: str = ""
    """What the user can do if there is more than `REPAIR_SHARE` of it. Empty if any amount is accepted: dropped data
    then become a gap."""


ODDITIES: dict[Kind, Oddity] = {
    "duplicate samples": Oddity(
        "samples with the time of an earlier sample", "read once", "keep one of the samples that share a time"
    ),
    "backward times": Oddity(
        "samples with an earlier timestamp than the one before them",
        "left out",
        "the clock was reset while recording: split the file there, or exclude it",
    ),
    "isolated stamps": Oddity(
        "samples with a timestamp far from those before and after them",
        "left out",
        "the stamps cannot be trusted: copy the file again from the device, or exclude it",
    ),
    "absurd values": Oddity(
        "values that the device cannot have measured",
        "missing",
        "in a table, check --units and --columns; otherwise copy or export the file again",
    ),
    "missing values": Oddity(
        "rows without a number in each column",
        "missing",
        "name the columns that hold the signal (--columns), or export the file again",
    ),
    "missing temperatures": Oddity(
        "thermometer readings that are not numbers, or below -40 or above 85 °C", "left out"
    ),
    "foreign lines": Oddity(
        "lines that are not rows of the table", "left out", "leave such lines out, or export the file again"
    ),
    "preamble lines": Oddity("lines of text before the first row of a table", "left out"),
    "blank lines": Oddity("empty lines", "left out"),
    "cut end": Oddity("an incomplete last line, block or page", "left out"),
    "repeated fillers": Oddity(
        "a value repeated in place of missing samples (exact zeros, or the last value again and again), and rows left "
        "empty for long",
        "a gap",
    ),
    "damaged blocks": Oddity("blocks, pages, packets, seconds or hours that fail their check", "a gap"),
    "other sessions": Oddity(
        "blocks of another recording session than the header's, or after the header of another recording", "left out"
    ),
    "repeated blocks": Oddity("blocks, records or rows that occur again, byte for byte", "read once"),
    "numbered again": Oddity(
        "places where the device began to number its blocks or pages again: it restarted, or the file holds two "
        "recordings",
        "kept",
    ),
    "times spread": Oddity(
        "samples that share a timestamp, in regular numbers", "spread evenly, at the recording's rate"
    ),
    "flagged ranges": Oddity("ranges that the data's publisher flagged as suspect", "kept"),
}
"""The policy."""
assert set(ODDITIES) == set(get_args(Kind))


class Tally:
    """Counts the oddities of one recording while it is read."""

    def __init__(self, named: object) -> None:
        """`named` is the file, the prefix of every error message."""
        self.named = named
        self._counts: dict[Kind, int] = {}
        self._details: dict[Kind, str] = {}

    def add(self, kind: Kind, count: int = 1, detail: str = "") -> None:
        """Count an oddity; of several details of one kind the first is kept. A count of 0 is ignored."""
        if count:
            self._counts[kind] = self._counts.get(kind, 0) + count
            self._details.setdefault(kind, detail)

    def count(self, kind: Kind) -> int:
        """Count so far."""
        return self._counts.get(kind, 0)

    def judge(self, samples: int) -> None:
        """Refuse the recording if it has more oddities than can be repaired.

        Args:
            samples: Number of samples found, including dropped ones.

        Raises:
            HarnetError: more than `REPAIR_SHARE` of them had one of the repairable oddities.
        """
        for kind, count in self._counts.items():
            advice = ODDITIES[kind].advice
            if advice and count > max(1, REPAIR_SHARE * samples):
                where = f", {self._details[kind]}" if self._details[kind] else ""
                repaired = f"up to {100 * REPAIR_SHARE:g} % is repaired"
                raise HarnetError(f"{self.named}: {kind}: {count:,} of {samples:,}{where}; {repaired}: {advice}")

    def notes(self) -> tuple[Note, ...]:
        """One note per kind found, in order of first occurrence."""
        return tuple(Note(kind, count, self._details[kind]) for kind, count in self._counts.items())
