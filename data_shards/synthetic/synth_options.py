"""What a user decides about synthetic people."""

from dataclasses import dataclass

from harnet.errors import HarnetError

MORNING = 10
"""Hour of the day at which recordings of some hours begin: most people are up, and wear the device."""
MOST_HOURS = 24 - MORNING


@dataclass(frozen=True)
class SynthOptions:
    """What decides a synthetic person, besides the number."""

    days: int = 7
    """Length of every recording, from midnight to midnight."""
    seed: int = 0
    """Another seed makes other people."""
    hours: int = 0
    """Of each recording, keep only so many hours of its first day, from ten in the morning; 0 keeps all of it."""

    def __post_init__(self) -> None:
        if not 1 <= self.days <= 100:
            raise HarnetError(f"--days {self.days}: give 1 to 100")
        if not 0 <= self.hours <= MOST_HOURS:
            raise HarnetError(f"--hours {self.hours}: give 1 to {MOST_HOURS}, or 0 for whole days")
        if self.seed < 0:
            raise HarnetError(f"--seed {self.seed}: give 0 or more")
