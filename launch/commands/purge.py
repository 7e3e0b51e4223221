"""`harnet purge`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data_shards.cohort.store import Cohort
from data_shards.shards import manifest
from data_shards.shards.purge import PurgeResult, purge_cohort, purge_shards
from data_shards.withdrawals import read_ids
from harnet.errors import HarnetError

NOT_REACHED = (
    "copies, backups and snapshots of this folder",
    "caches on nodes that trained on it: delete harnet-<user id> in their temporary folder, or --data.cache",
    "the other stages: device files, cohort store (harnet purge cohort.zarr IDS), shards made from it",
    "checkpoints and weights that were trained on them",
)


@dataclass(frozen=True)
class Command:
    """Take people who withdrew out of a shard folder or a cohort store, and prove that nothing of theirs is left.

    Only shards with blocks of theirs are rewritten; what is other people's stays as it was, bit for bit. Then every
    byte in the folder is read and searched. Stopped at any point, the same command finishes; until then the folder
    cannot be opened. Stop training on it first. Exit code 0 means that nothing was found.

    Example:
        harnet purge shards withdrawn.txt --workers 8
        harnet purge cohort.zarr withdrawn.txt
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Shards or cohort store."""
    ids: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IDS")]
    """Text file with one participant id a line."""
    workers: int = 1
    """Processes, each reading and writing shards of its own."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Purge, then say what was done, proven and not reached; 1 if anything is left."""
        ids = read_ids(self.ids)
        if (self.folder / "zarr.json").exists():
            purged, digest = purge_cohort(Cohort.open(self.folder), ids), None
        elif (self.folder / manifest.FILE_NAME).exists():
            purged = purge_shards(self.folder, ids, self.workers)
            digest = None if purged.searched.found else manifest.read(self.folder).digest
        else:
            raise HarnetError(f"{self.folder}: neither a cohort store nor a finished shard folder; nothing was changed")
        as_json = asdict(purged) | {"ids": len(ids), "digest": digest, "not_reached": NOT_REACHED}
        print(json.dumps(as_json, indent=2) if self.json else self._text(purged, ids, digest))
        return 1 if purged.searched.found else 0

    def _text(self, purged: PurgeResult, ids: frozenset[str], digest: str | None) -> str:
        searched = purged.searched
        lines = [f"{self.folder}: {len(ids)} ids, {purged.recordings} recordings of theirs taken out"]
        if purged.blocks:
            lines[0] += f", {purged.blocks} blocks; {purged.rewritten} shards rewritten, {purged.removed} gone"
        lines += [f"left: {found}" for found in searched.found]
        if searched.found:
            lines.append("remove these files, or move them out, and run the same command again")
            if digest is None and purged.blocks:
                lines.append("until then the folder stays closed")
        else:
            lines.append(
                f"proof: {searched.files} files, {searched.bytes / 1e6:.1f} MB, hidden ones too, were searched: no id, "
                "recording name or block of theirs is left"
            )
        lines += [f"note: {path} is not what the manifest says; `harnet verify` says more" for path in searched.differs]
        if purged.linked:
            lines.append(f"note: {purged.linked} old shards are still on this disk under another name (hard links)")
        lines += [f"not reached: {what}" for what in NOT_REACHED]
        if digest is not None and purged.blocks:
            lines.append(
                f"the manifest digest is now {digest[:16]}: a run that was trained on the old shards will not continue "
                "on these; start a new one in a new folder (--run.out)"
            )
        return "\n".join(lines)
