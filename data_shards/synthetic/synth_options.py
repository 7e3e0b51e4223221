"""Options for synthetic people."""

from dataclasses import dataclass

from harnet.errors import HarnetError

MORNING = 10
"""Hour of the day at which recordings of a few hours begin: most people are up and wear the device."""
MOST_HOURS = 24 - MORNING


@dataclass(frozen=True)
class SynthOptions:
    """Everything that determines a synthetic person, besides the number."""

    days: int = 7
    """Length of every recording in days, from midnight to midnight."""
    seed: int = 0
    """Random seed; another seed gives other people."""
    hours: int = 0
    """Keep only this many hours of each recording, from ten in the morning of its first day; 0 keeps all."""

    def __post_init__(self) -> None:
        if not 1 <= self.days <= 100:
            raise HarnetError(f"--days {self.days}: give 1 to 100")
        if not 0 <= self.hours <= MOST_HOURS:
            raise HarnetError(f"--hours {self.hours}: give 1 to {MOST_HOURS}, or 0 for whole days")
        if self.seed < 0:
            raise HarnetError(f"--seed {self.seed}: give 0 or more")
