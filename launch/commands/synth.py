"""`harnet synth`: a synthetic cohort of any size."""

import json
from dataclasses import dataclass
from pathlib import Path

from data_shards.synthetic.make import synthesise, write_labels
from data_shards.synthetic.record import NOTE
from data_shards.synthetic.synth_options import SynthOptions


@dataclass(frozen=True)
class Command:
    """Generate a cohort store of synthetic people, for load tests and for demonstrations without data.

    Everything in it is synthetic, so nothing about people can be concluded from it. Person k of a seed is the same
    whatever the number of people and processes. Running the same command again adds what is missing.

    Example: harnet synth --people 12 --days 7 --out synth.zarr --labels labels.parquet
    """

    out: Path
    """Cohort store to create or add to, such as synth.zarr."""
    people: int = 12
    """Number of people, each with one recording."""
    days: int = 7
    """Days per recording; a week of one person takes about 55 MB."""
    hours: int = 0
    """Keep only this many hours of each recording, starting at 10 a.m.; 0 for whole days."""
    seed: int = 0
    """Random seed; another seed gives other people."""
    labels: Path | None = None
    """Write the true activities to this Parquet file: recording, start, seconds, activity."""
    workers: int = 1
    """Worker processes."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Generate the missing people, then print a summary of the store; returns the exit code."""
        options = SynthOptions(self.days, self.seed, self.hours)
        cohort = synthesise(self.out, self.people, options, self.workers)
        if self.labels is not None:
            write_labels(self.labels, self.people, options)
        worn = [info.worn_seconds / 3600 for info in cohort.infos()]
        length = self.hours / 24 if self.hours else self.days
        people, person_days, hours = len(worn), round(length * len(worn), 1), sum(worn)
        if self.json:
            summary = {"out": str(self.out), "note": NOTE, "seed": self.seed, "people": people}
            print(json.dumps(summary | {"person_days": person_days, "worn_hours": round(hours, 3)}, indent=2))
            return 0
        print(f"{self.out}: {people} people, {person_days:g} person-days, {hours:.1f} h worn, seed {self.seed}")
        print(NOTE)
        return 0
