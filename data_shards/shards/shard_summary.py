"""What writing shards came to, as text for people and as a dictionary for scripts."""

from pathlib import Path
from typing import Any

from data_shards.shards import manifest
from data_shards.shards.writer import WriteResult
from harnet.parts import Part


def summarise(written: WriteResult, folder: Path) -> dict[str, Any]:
    """What was left out and, once all shards are written, what the folder holds by split."""
    planned = written.planned
    found = {
        "flow": planned.flow.as_dict(),
        "withdrawn": planned.withdrawn,
        "hours_not_worn": planned.hours_not_worn,
        "finished": not written.missing,
    }
    return found | ({"missing_shards": len(written.missing)} if written.missing else _by_split(folder))


def as_text(
    written: WriteResult, summary: dict[str, Any], folder: Path, part: Part | None, exclude: Path | None
) -> str:
    """The summary for people; `part` and `exclude` as passed to `write_shards`."""
    planned = written.planned
    lines = [planned.flow.as_text()]
    if planned.withdrawn:
        lines.append(f"excluded before: {planned.withdrawn} recordings of participants in {exclude}")
    lines.append(f"left out: {planned.hours_not_worn} hours without wear time")
    if written.missing:
        assert part is not None
        return "\n".join([*lines, f"{folder}: {_waiting(written, part)}"])
    lines += [
        "{split}: {people} people, {person_days} person-days, {blocks} blocks, {shards} shards, "
        "{wear_hours:.1f} h worn".format(split=split, **summary[split])
        for split in ("train", "heldout")
    ]
    if not summary["heldout"]["people"]:
        lines.append(
            "note: nobody is held out, so training will have no held-out loss; another --split-salt moves people"
        )
    if summary["purged"]:
        lines.append(
            f"note: {summary['purged']['recordings']} recordings were purged from this folder since it was written"
        )
    return "\n".join([*lines, f"{folder / manifest.FILE_NAME}: digest {summary['digest'][:16]}"])


def _waiting(written: WriteResult, part: Part) -> str:
    """Message about the parts that are not finished yet."""
    parts = sorted({shard.number % part.count + 1 for shard in written.missing})
    listed = ", ".join(map(str, parts[:20])) + (" and others" if len(parts) > 20 else "")
    missing = f"{len(written.missing)} of {len(written.planned.shards)} shards are missing"
    return (
        f"part {part.number} of {part.count} is done; {missing}, of part{'s' if len(parts) > 1 else ''} {listed}; "
        "the part that finishes last writes the manifest"
    )


def _by_split(folder: Path) -> dict[str, Any]:
    """Counts of people, person-days, blocks, shards and wear hours of a shard folder, by split."""
    contents = manifest.read(folder)
    summary: dict[str, Any] = {
        "manifest": str(folder / manifest.FILE_NAME),
        "digest": contents.digest,
        "purged": contents.provenance.get("purged"),
    }
    for split in ("train", "heldout"):
        rows = contents.rows(split)
        summary[split] = {
            "people": contents.people(rows),
            "person_days": contents.person_days(rows),
            "blocks": len(rows),
            "shards": sum(shard.split == split for shard in contents.shards),
            "wear_hours": float(contents.columns["wear_seconds"][rows].sum()) / 3600,
        }
    return summary
