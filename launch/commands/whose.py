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
    """Say whose block a message is about. Logs name a shard and a byte, never a participant.

    Prints participant, recording, hour (since 1970, on the recording's clock) and row of the manifest: keep it out of
    logs.

    Example: harnet whose shards/train-000012.tar 1536
    """

    shard: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SHARD")]
    """The shard as the message names it: a path or a URL. The manifest beside it is read."""
    bytes: Annotated[tyro.conf.Positional[tuple[int, ...]], tyro.conf.arg(metavar="BYTE ...")]
    """The bytes that the message names, or any others inside a block."""
    json: bool = False
    """Print a JSON list."""

    def run(self) -> int:
        """Look them up and print them."""
        folder, _, name = self.shard.rpartition("/")
        contents = open_manifest(folder or ".", NodeCache.open())
        found = [block_origin(contents, name, byte) for byte in self.bytes]
        if self.json:
            print(json.dumps(found, indent=2))
        for each in () if self.json else found:
            print(*(f"{key} {value}" for key, value in each.items()), sep=", ")
        return 0


def block_origin(contents: Manifest, shard: str, byte: int) -> dict[str, Any]:
    """Of the block that holds a byte of a shard, what the manifest says of its origin.

    Raises:
        HarnetError: there is no such shard, or no block there.
    """
    numbers = [number for number, each in enumerate(contents.shards) if each.name == shard]
    if not numbers:
        raise HarnetError(f"{contents.where}: its manifest lists no shard {shard!r}")
    columns = contents.columns
    inside = (columns["shard"] == numbers[0]) & (columns["offset"] <= byte)
    rows = np.flatnonzero(inside & (byte < columns["offset"] + columns["length"]))
    if not len(rows):
        raise HarnetError(f"{contents.where}/{shard}: no block has a byte {byte}: give the number from the message")
    row = int(rows[0])
    return {
        "participant": contents.participants[columns["participant"][row]],
        "recording": contents.recordings[columns["recording"][row]],
        "hour": int(columns["hour"][row]),
        "row": row,
    }
