"""`harnet ingest`: device files → 30 Hz cohort store."""

import json
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import tyro

from data_shards.cohort.store import Cohort
from data_shards.ingest.ingest_plan import IngestPlan, PlannedFile, first_names_of, plan_ingest
from data_shards.ingest.run import IngestOutcome, ingest
from data_shards.quality.policy import Flow, find_policy, flow
from harnet.parts import Part
from launch.device_files import FileOptions


@dataclass(frozen=True)
class Command:
    """Read wrist recordings, resample them to 30 Hz and add them to a cohort store (Zarr).

    What a file is shows in its content, not its name. Every recording is calibrated against gravity where it is long
    enough, and facts of its quality are kept; nothing is left out for them here. Files that cannot be used are listed
    with the reason and stop no other. Run again, it skips what is already there and adds the rest.

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
    """The cohort store to make or to add to, such as cohort.zarr."""
    files: tyro.conf.OmitArgPrefixes[FileOptions] = field(default_factory=FileOptions)
    """What device files do not say themselves."""
    min_seconds: float = 10.0
    """Refuse recordings without a gap-free stretch of this length, one window."""
    quality: str = "uk-biobank"
    """Policy of the flow table at the end, if all files are taken: uk-biobank, none, or a TOML file with limits."""
    part: str = "1/1"
    """Take this share of the files, such as 3/100 in the third element of a job array of a hundred."""
    listing: Path | None = None
    """With --part: where the first part keeps the list of files found, for all others to read; of one array only."""
    workers: int = 1
    """Processes. Each needs about 1 GB of memory."""
    dry_run: bool = False
    """Only list the files with the kind of device, the participant and the recording's name; write nothing."""
    json: bool = False
    """Print the result as one JSON object on standard output."""

    def run(self) -> int:
        """Ingest; 0 only if no file was refused."""
        options = self.files.ingest_options()
        part = Part.parse(self.part)
        options = replace(options, min_seconds=self.min_seconds, part=part, listing=self.listing)
        policy = find_policy(self.quality)
        if self.dry_run:
            planned = plan_ingest(self.inputs, replace(options, listing=None))
            print(plan_as_json(planned, options.exclude) if self.json else plan_as_text(planned, options.exclude))
            return int(bool(planned.refused))
        outcomes, skipped = ingest(self.inputs, self.out, options, self.workers)
        found = None
        # Of all recordings, and so not for each of a hundred parts: whoever runs the whole prints it.
        if part.count == 1 and (self.out / "zarr.json").exists():
            cohort = Cohort.open(self.out)
            found = flow(cohort.infos(), len(cohort.unreadable()), policy)
        if self.json:
            print(as_json(outcomes, skipped, self.out, found))
        else:
            print(as_text(outcomes, skipped, self.out))
            if found is not None:
                print(f"quality, all of {self.out} by --quality {self.quality}:\n{found.as_text()}")
        return int(any(outcome.status == "refused" for outcome in outcomes))


def plan_as_text(planned: IngestPlan, exclude: frozenset[str]) -> str:
    """What would be read: a line for each file, then what would not. Files of excluded people are only counted."""
    files = _kept(planned, exclude)
    rows = [("file", "kind", "participant", "recording"), *map(_row, files)]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    lines += [f"refused: {reason}" for _, reason in planned.refused]
    lines += [f"skipped: {path}: of no known kind" for path in planned.skipped]
    people = {file.identity.participant for file in files if file.identity is not None}
    lines.append(f"{len(files)} files of {len(people)} people, {len(planned.refused)} refused, "
                 f"{len(planned.files) - len(files)} excluded, {len(planned.skipped)} skipped; nothing was read or "
                 "written")  # fmt: skip
    return "\n".join(lines)


def plan_as_json(planned: IngestPlan, exclude: frozenset[str]) -> str:
    """The same for scripts. Names are null where they are inside the file."""
    files = []
    for file in _kept(planned, exclude):
        _, kind, participant, recording = _row(file)
        known = file.identity is not None
        files.append({"source": str(file.path), "kind": kind, "participant": participant if known else None,
                      "recording": recording if known else None})  # fmt: skip
    refused = [{"source": str(path), "reason": reason} for path, reason in planned.refused]
    excluded = len(planned.files) - len(files)
    return json.dumps(
        {"files": files, "refused": refused, "excluded": excluded, "skipped_files": list(planned.skipped)}
    )


def _kept(planned: IngestPlan, exclude: frozenset[str]) -> list[PlannedFile]:
    return [file for file in planned.files if file.identity is None or file.identity.participant not in exclude]


def _row(file: PlannedFile) -> tuple[str, str, str, str]:
    names = file.identity
    inside = "(in the file)"
    return str(file.path), file.kind, names.participant if names else inside, names.recording if names else inside


def as_text(outcomes: list[IngestOutcome], skipped: tuple[str, ...], out: Path) -> str:
    """The summary for people: a line for each note and each refusal, then the totals."""
    count = Counter(outcome.status for outcome in outcomes)
    lines = [f"note: {each.source}: {note}" for each in outcomes for note in each.notes]
    short = [each for each in outcomes if each.too_short]
    gathered = len(short) > 1
    lines += [
        f"refused: {each.reason}" for each in outcomes if each.status == "refused" and not (gathered and each.too_short)
    ]
    if gathered:
        lines.append(
            f"refused: {first_names_of([each.source for each in short])} have no stretch without a gap as long as one "
            "window (--min-seconds): --json lists them"
        )
    if skipped:
        lines.append(f"skipped: {first_names_of(skipped)} of no known kind in the folders, name one to see why")
    signal, worn = _hours(outcomes, "complete_seconds"), _hours(outcomes, "worn_seconds")
    lines.append(
        f"{out}: {len(outcomes)} recordings in, {count['ingested']} ingested, {count['already there']} already there, "
        f"{count['refused']} refused, {count['excluded']} excluded; {signal:.1f} h of signal, {worn:.1f} h worn"
    )
    return "\n".join(lines)


def as_json(outcomes: list[IngestOutcome], skipped: tuple[str, ...], out: Path, found: Flow | None) -> str:
    """The summary for scripts. It holds paths as the user gave them, and no participant."""
    count = Counter(outcome.status for outcome in outcomes)
    return json.dumps(
        {
            "out": str(out),
            "recordings": len(outcomes),
            "ingested": count["ingested"],
            "already_there": count["already there"],
            "excluded": count["excluded"],
            "refused": [{"source": e.source, "reason": e.reason} for e in outcomes if e.status == "refused"],
            "notes": [{"source": e.source, **asdict(note)} for e in outcomes for note in e.notes],
            "skipped_files": list(skipped),
            "hours": round(_hours(outcomes, "complete_seconds"), 3),
            "worn_hours": round(_hours(outcomes, "worn_seconds"), 3),
            "flow": None if found is None else found.as_dict(),
        }
    )


def _hours(outcomes: list[IngestOutcome], field: str) -> float:
    return float(sum(getattr(outcome, field) for outcome in outcomes)) / 3600
