"""What an ingest would do and what it did, as text for people and as JSON for scripts."""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_shards.ingest.ingest_plan import IngestPlan, PlannedFile, first_names_of
from data_shards.ingest.run import IngestOutcome
from harnet.errors import one_line


def plan_as_text(planned: IngestPlan, exclude: frozenset[str]) -> str:
    """Dry run: one line per file, then refused and skipped files. Files of excluded people are only counted."""
    files = _kept(planned, exclude)
    rows = [("file", "kind", "participant", "recording"), *map(_row, files)]
    widths = [max(map(len, column)) for column in list(zip(*rows, strict=True))[:3]]
    lines = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows
    ]
    lines += [f"refused: {reason}" for _, reason in planned.refused]
    lines += [f"skipped: {path}: unknown format" for path in planned.skipped]
    people = {file.identity.participant for file in files if file.identity is not None}
    lines.append(f"{len(files)} files of {len(people)} people, {len(planned.refused)} refused, "
                 f"{len(planned.files) - len(files)} excluded, {len(planned.skipped)} skipped; nothing was read or "
                 "written")  # fmt: skip
    return "\n".join(map(one_line, lines))


def plan_as_json(planned: IngestPlan, exclude: frozenset[str]) -> str:
    """Dry run as JSON. Names are null if they can only be read from inside the file."""
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
    return (
        one_line(str(file.path)),
        file.kind,
        names.participant if names else inside,
        names.recording if names else inside,
    )


def outcomes_as_text(outcomes: list[IngestOutcome], skipped: tuple[str, ...], out: Path) -> str:
    """Human-readable summary: one line per note and per refused file, then the totals."""
    count = Counter(outcome.status for outcome in outcomes)
    lines = [f"note: {each.source}: {note}" for each in outcomes for note in each.notes]
    short = [each for each in outcomes if each.too_short]
    gathered = len(short) > 1
    lines += [
        f"refused: {each.reason}" for each in outcomes if each.status == "refused" and not (gathered and each.too_short)
    ]
    if gathered:
        lines.append(
            f"refused: {first_names_of([each.source for each in short])} have no gap-free stretch as long as one "
            "window (--min-seconds): --json lists them"
        )
    if skipped:
        lines.append(f"skipped: {first_names_of(skipped)} of unknown format in the folders; pass one to see why")
    signal, worn = _hours(outcomes, "complete_seconds"), _hours(outcomes, "worn_seconds")
    lines.append(
        f"{out}: {len(outcomes)} recordings in, {count['ingested']} ingested, {count['already there']} already there, "
        f"{count['refused']} refused, {count['excluded']} excluded; {signal:.1f} h of signal, {worn:.1f} h worn"
    )
    return "\n".join(map(one_line, lines))


def outcomes_as_json(
    outcomes: list[IngestOutcome], skipped: tuple[str, ...], out: Path, flow: dict[str, Any] | None
) -> str:
    """The summary for scripts, with the flow table of the store. It holds paths as given, and no participant."""
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
            "flow": flow,
        }
    )


def _hours(outcomes: list[IngestOutcome], field: str) -> float:
    return float(sum(getattr(outcome, field) for outcome in outcomes)) / 3600
