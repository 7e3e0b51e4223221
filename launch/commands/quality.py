"""`harnet quality`: a report of what a quality policy keeps of a cohort store, with a plot of each recording."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import find_policy
from data_shards.quality.quality_page import write_report
from harnet.parts import WHOLE, Part


@dataclass(frozen=True)
class Command:
    """Report the quality of a cohort store: flow table, table of recordings, and HTML pages with a plot of each.

    Writes flow.json, recordings.csv and index.html to the folder. The pages contain the participants' pseudonyms, so
    they are only for the team that holds the cohort. Running the same command again draws missing or outdated pages.

    Example: harnet quality cohort.zarr --out quality --quality uk-biobank
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store written by `harnet ingest`."""
    out: Path
    """Folder for the report; files of an earlier report are replaced."""
    quality: str = "uk-biobank"
    """Quality policy: uk-biobank, none (exclude nothing), or a TOML file with limits."""
    pictures: int = 1000
    """Maximum number of recordings to draw, 100 per page, excluded ones first; recordings.csv lists all."""
    part: str = WHOLE
    """Draw only this share of the pages, such as 3/100 in task 3 of a job array of 100."""
    listing: Path | None = None
    """With --part: path at which the first part stores the list of recordings for the others; use one per array."""
    workers: int = 1
    """Worker processes, each drawing a page at a time."""
    json: bool = False
    """Print the flow table as JSON."""

    def run(self) -> int:
        """Write the report, then print the flow of recordings; returns the exit code."""
        part = Part.parse(self.part)
        policy = find_policy(self.quality)
        cohort = Cohort.open(self.cohort, self.listing)
        audited = write_report(cohort, self.out, policy, self.pictures, self.workers, part)
        if self.json:
            print(json.dumps(audited.flow.as_dict(), indent=2))
            return 0
        if audited.synthetic:
            print(f"note: {audited.synthetic} of {audited.flow.recordings} recordings are synthetic")
        print(audited.flow.as_text())
        print(f"{self.out / 'index.html'}: the report; it contains the participants' pseudonyms")
        return 0
