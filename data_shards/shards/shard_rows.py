"""The manifest rows of one shard, small enough to send to another process; a cohort may have 11,000 shards."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from data_shards.shards.manifest import Manifest, ShardInfo
from harnet.errors import HarnetError


@dataclass(frozen=True)
class ShardRows:
    """The blocks of one shard, in the order of the manifest."""

    number: int
    """The shard's index in the manifest."""
    info: ShardInfo
    """The file."""
    rows: NDArray[np.int64]
    """(b,) row numbers in the manifest."""
    offset: NDArray[np.int64]
    """(b,) byte offset of each block's range."""
    length: NDArray[np.int32]
    """(b,) length of the range in bytes."""
    hash: NDArray[np.uint64]
    """(b,) xxh3-64 of the range."""
    hour: NDArray[np.int32]
    """(b,) hours since 1970 on the recording's clock."""
    samples: NDArray[np.int32]
    """(b,) samples per axis."""
    recording: NDArray[np.int64]
    """(b,) index into `recordings`."""
    recordings: tuple[str, ...]
    """Names of the recordings in this shard."""
    participant: NDArray[np.int64]
    """(b,) index into `participants`."""
    participants: tuple[str, ...]
    """Pseudonyms of the people in this shard."""

    def name(self, place: int) -> str:
        """Description of a block for messages, as in `Manifest.name_of`."""
        return f"block at byte {self.offset[place]}"

    def is_about(self, about: dict[str, Any], place: int) -> bool:
        """Whether the content of an about.json matches the block."""
        return (about.get("participant"), about.get("recording"), about.get("hour")) == (
            self.participants[self.participant[place]],
            self.recordings[self.recording[place]],
            int(self.hour[place]),
        )

    @property
    def in_order(self) -> bool:
        """Whether the ranges are in order and do not overlap, as written."""
        ends = self.offset + self.length
        return bool((self.offset[1:] >= ends[:-1]).all() and (self.offset[:1] >= 0).all())


def rows_by_shard(contents: Manifest) -> list[ShardRows]:
    """The blocks of every shard; the columns are views into the manifest's.

    Raises:
        HarnetError: a row refers to a shard that is not listed.
    """
    shard = contents.columns["shard"]
    number = len(contents.shards)
    if len(shard) and not 0 <= int(shard.min()) <= int(shard.max()) < number:
        raise HarnetError(f"{contents.location}: the manifest has blocks of shards that it does not list; restore it")
    in_order = bool((shard[1:] >= shard[:-1]).all())
    order = None if in_order else np.argsort(shard, kind="stable")
    bounds = np.searchsorted(shard, np.arange(number + 1), sorter=order)
    return [_take(contents, at, slice(int(bounds[at]), int(bounds[at + 1])), order) for at in range(number)]


def _take(contents: Manifest, number: int, part: slice, order: NDArray[np.int64] | None) -> ShardRows:
    rows = np.arange(part.start, part.stop) if order is None else order[part]
    columns = {
        name: contents.columns[name][part if order is None else rows]
        for name in ("offset", "length", "hash", "hour", "samples", "recording", "participant")
    }
    used, recording = np.unique(columns.pop("recording"), return_inverse=True)
    people, participant = np.unique(columns.pop("participant"), return_inverse=True)
    return ShardRows(
        number=number,
        info=contents.shards[number],
        rows=rows,
        recording=recording,
        recordings=tuple(contents.recordings[code] for code in used.tolist()),
        participant=participant,
        participants=tuple(contents.participants[code] for code in people.tolist()),
        **columns,
    )
