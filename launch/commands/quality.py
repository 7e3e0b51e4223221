"""`harnet quality`: a report of what a quality policy keeps of a cohort store, with a picture of each recording."""

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
    """Report the quality of a cohort store: flow table, table of recordings, and a page with a picture of each.

    Writes flow.json, recordings.csv and index.html into the folder. The page names participants by their pseudonyms:
    it is for the team that holds the cohort. Run again, it draws the pages that are missing or out of date.

    Example: harnet quality cohort.zarr --out quality --quality uk-biobank
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store that `harnet ingest` made."""
    out: Path
    """Folder for the report; files of an earlier report in it are replaced."""
    quality: str = "uk-biobank"
    """What to leave out: uk-biobank, none, or a TOML file with the limits."""
    pictures: int = 1000
    """Draw at most so many recordings, 100 a page, those left out first; recordings.csv lists all."""
    part: str = WHOLE
    """Draw this share of the pages, such as 3/100 in the third element of a job array of a hundred."""
    listing: Path | None = None
    """With --part: where the first part keeps the list of recordings, for all others to read; of one array only."""
    workers: int = 1
    """Processes, each drawing a page at a time."""
    json: bool = False
    """Print the flow as JSON, not as a table."""

    def run(self) -> int:
        """Write the report, then print the flow of recordings."""
        part = Part.parse(self.part)
        policy = find_policy(self.quality)
        cohort = Cohort.open(self.cohort, self.listing)
        audited = write_report(cohort, self.out, policy, self.pictures, self.workers, part)
        if self.json:
            print(json.dumps(audited.flow.as_dict(), indent=2))
            return 0
        if audited.synthetic:
            print(f"note: {audited.synthetic} of {audited.flow.recordings} recordings are synthetic, made by formula")
        print(audited.flow.as_text())
        print(f"{self.out / 'index.html'}: the report; it names participants by their pseudonyms")
        return 0
