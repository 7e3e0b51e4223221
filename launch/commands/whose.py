"""`harnet whose`."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import tyro

from data_shards.shards.manifest import Manifest
from data_shards.stream.node_cache import NodeCache
from data_shards.stream.shared_manifest import open_manifest
from harnet.errors import HarnetError


@dataclass(frozen=True)
class Command:
    """Show whose block a log message refers to. Logs name a shard and a byte offset, never a participant.

    Prints participant, recording, hour (since 1970, on the recording's clock) and manifest row: keep this out of logs.

    Example: harnet whose shards/train-000012.tar 1536
    """

    shard: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SHARD")]
    """The shard as named in the message: a path or a URL. The manifest beside it is read."""
    bytes: Annotated[tyro.conf.Positional[tuple[int, ...]], tyro.conf.arg(metavar="BYTE ...")]
    """Byte offsets as named in the message, or any others inside a block."""
    json: bool = False
    """Print a JSON list."""

    def run(self) -> int:
        """Look the blocks up and print them; returns the exit code."""
        folder, _, name = self.shard.rpartition("/")
        contents = open_manifest(folder or ".", NodeCache.open())
        found = [block_origin(contents, name, byte) for byte in self.bytes]
        if self.json:
            print(json.dumps(found, indent=2))
        for each in () if self.json else found:
            print(*(f"{key} {value}" for key, value in each.items()), sep=", ")
        return 0


def block_origin(contents: Manifest, shard: str, byte: int) -> dict[str, Any]:
    """Origin of the block that contains byte offset `byte` of a shard, according to the manifest.

    Raises:
        HarnetError: there is no such shard, or no block at that offset.
    """
    numbers = [number for number, each in enumerate(contents.shards) if each.name == shard]
    if not numbers:
        raise HarnetError(f"{contents.where}: its manifest lists no shard {shard!r}")
    columns = contents.columns
    inside = (columns["shard"] == numbers[0]) & (columns["offset"] <= byte)
    rows = np.flatnonzero(inside & (byte < columns["offset"] + columns["length"]))
    if not len(rows):
        raise HarnetError(f"{contents.where}/{shard}: no block at byte {byte}: pass the number from the message")
    row = int(rows[0])
    return {
        "participant": contents.participants[columns["participant"][row]],
        "recording": contents.recordings[columns["recording"][row]],
        "hour": int(columns["hour"][row]),
        "row": row,
    }
