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
    """Remove participants who withdrew from a shard folder or a cohort store, and prove that no data of theirs is left.

    Only shards with their blocks are rewritten; the data of others stay bit-identical. Then every byte in the folder is
    read and searched. If interrupted, run the same command again; until it finishes the folder cannot be opened. Stop
    any training on the folder first. Exit code 0 means that nothing of theirs was found.

    Example:
        harnet purge shards withdrawn.txt --workers 8
        harnet purge cohort.zarr withdrawn.txt
    """

    folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="FOLDER")]
    """Shard folder or cohort store."""
    ids: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="IDS")]
    """Text file with one participant id per line."""
    workers: int = 1
    """Worker processes, each processing its own shards."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        """Purge, then report what was done, proven and not reached; the exit code is 1 if anything is left."""
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
        lines = [f"{self.folder}: {len(ids)} ids, {purged.recordings} recordings removed"]
        if purged.blocks:
            lines[0] += f", {purged.blocks} blocks; {purged.rewritten} shards rewritten, {purged.removed} deleted"
        lines += [f"left: {found}" for found in searched.found]
        if searched.found:
            lines.append("delete these files, or move them elsewhere, and run the same command again")
            if digest is None and purged.blocks:
                lines.append("until then the folder cannot be opened")
        else:
            lines.append(
                f"proof: {searched.files} files, {searched.bytes / 1e6:.1f} MB, including hidden ones, were searched: "
                "no id, recording name or block of theirs is left"
            )
        lines += [f"note: {path} differs from the manifest; run `harnet verify`" for path in searched.differs]
        if purged.linked:
            lines.append(f"note: {purged.linked} old shards are still on this disk under other names (hard links)")
        lines += [f"not reached: {what}" for what in NOT_REACHED]
        if digest is not None and purged.blocks:
            lines.append(
                f"the manifest digest is now {digest[:16]}: a run trained on the old shards cannot resume on these; "
                "start a new run in a new folder (--run.out)"
            )
        return "\n".join(lines)
