"""`harnet ingest`: device files → 30 Hz cohort store."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import tyro

from data_shards.cohort.store import Cohort
from data_shards.ingest.ingest_plan import plan_ingest
from data_shards.ingest.ingest_summary import outcomes_as_json, outcomes_as_text, plan_as_json, plan_as_text
from data_shards.ingest.run import ingest
from data_shards.quality.policy import find_policy, flow
from harnet.parts import Part
from launch.device_files import FileOptions


@dataclass(frozen=True)
class Command:
    """Read wrist recordings, resample them to 30 Hz and add them to a cohort store (Zarr).

    File formats are recognised by content, not by name. Recordings that are long enough are calibrated against gravity;
    quality measures are stored, but no recording is excluded because of them. Files that cannot be used are listed with
    the reason and do not stop the others. Running the same command again adds only what is missing.

    Example:
        harnet ingest recordings/ --out cohort.zarr --workers 8
        harnet ingest P*.csv --out cohort.zarr --columns timestamp ax ay az --units m/s2
        harnet ingest visits/ --out cohort.zarr --participant-pattern '(P[0-9]{3})' --timezone Europe/London
        harnet ingest visits/ --out cohort.zarr --participant-pattern '(P[0-9]{3})' --dry-run
        harnet ingest recordings/ --out cohort.zarr --part $SLURM_ARRAY_TASK_ID/100 --listing files-$SLURM_ARRAY_JOB_ID
    """

    inputs: tyro.conf.Positional[tuple[Path, ...]]
    """Device files, and folders to search for them."""
    out: Path
    """Cohort store to create or add to, such as cohort.zarr."""
    files: tyro.conf.OmitArgPrefixes[FileOptions] = field(default_factory=FileOptions)
    """Metadata that device files do not contain."""
    min_seconds: float = 10.0
    """Refuse recordings without a gap-free stretch of this length in seconds; default: one window of harnet10."""
    quality: str = "uk-biobank"
    """Quality policy of the flow table printed at the end: uk-biobank, none, or a TOML file with limits."""
    part: str = "1/1"
    """Process only this share of the files, such as 3/100 in task 3 of a job array of 100."""
    listing: Path | None = None
    """With --part: path at which the first part stores the list of files for the others; use one per array."""
    workers: int = 1
    """Worker processes. Each needs about 1 GB of memory."""
    dry_run: bool = False
    """Only list the files with their format, participant and recording name; write nothing."""
    json: bool = False
    """Print the result as one JSON object on standard output."""

    def run(self) -> int:
        """Ingest; the exit code is 0 only if no file was refused."""
        options = self.files.ingest_options()
        part = Part.parse(self.part)
        options = replace(options, min_seconds=self.min_seconds, part=part, listing=self.listing)
        policy = find_policy(self.quality)
        if self.dry_run:
            # A listing that is there decides the share; one that is not must not be written.
            listing = self.listing if self.listing is not None and self.listing.exists() else None
            planned = plan_ingest(self.inputs, replace(options, listing=listing))
            print(plan_as_json(planned, options.exclude) if self.json else plan_as_text(planned, options.exclude))
            return int(bool(planned.refused))
        outcomes, skipped = ingest(self.inputs, self.out, options, self.workers)
        found = None
        # The flow table covers all recordings, so only a run without --part prints it.
        if part.count == 1 and (self.out / "zarr.json").exists():
            cohort = Cohort.open(self.out)
            found = flow(cohort.infos(), len(cohort.unreadable()), policy)
        if self.json:
            print(outcomes_as_json(outcomes, skipped, self.out, found.as_dict() if found else None))
        else:
            print(outcomes_as_text(outcomes, skipped, self.out))
            if found is not None:
                print(f"quality, all of {self.out} by --quality {self.quality}:\n{found.as_text()}")
        return int(any(outcome.status == "refused" for outcome in outcomes))
