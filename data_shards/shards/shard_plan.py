"""The plan of a shard folder: which hour of a cohort goes into which shard, decided before anything is written.

So shards can be written in any order, by any process on any machine, and a killed run resumes with the missing ones.
Planning is one pass over the metadata of the recordings, without reading their signal. A plan takes a few bytes per
hour; 700,000 person-days are 16.8 million hours.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numcodecs import blosc
from numpy.typing import NDArray

from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES, Flow, QualityPolicy, first_violated_rule, flow
from data_shards.shards import manifest, tar
from data_shards.shards.compression import BLOSC_BLOCK, ZSTD_LEVEL, Compression
from data_shards.shards.split import Split, split_of
from harnet.errors import HarnetError


@dataclass(frozen=True)
class ShardOptions:
    """Options that determine the bytes of a shard folder, together with the cohort."""

    blocks_per_shard: int = 1500
    """Person-hours per tar; 1,500 full hours are about 1 GB, or half of that compressed."""
    split_salt: str = ""
    """Salt of the split; another salt holds out other people. See data_shards/shards/split.py."""
    compression: Compression = "none"
    """zstd: lossless, with Blosc; about half the size, if the file system is the bottleneck."""
    quality: QualityPolicy = POLICIES["uk-biobank"]
    """Quality policy; recordings that violate it are excluded."""

    def __post_init__(self) -> None:
        if self.blocks_per_shard < 1:
            raise HarnetError(f"blocks_per_shard is {self.blocks_per_shard}; it must be at least 1")


@dataclass(frozen=True)
class HoursInShard:
    """Hours of one recording in one shard."""

    recording: str
    """Name in the cohort."""
    hours: NDArray[np.int32]
    """(k,) hour indices, from the recording's first hour, increasing."""


@dataclass(frozen=True)
class ShardPlan:
    """One tar file to write."""

    number: int
    """Index in the manifest."""
    name: str
    """File name."""
    split: Split
    """Split of its blocks."""
    pieces: tuple[HoursInShard, ...]
    """In the order of the file."""


@dataclass(frozen=True)
class CohortPlan:
    """All tar files of a cohort."""

    shards: tuple[ShardPlan, ...]
    """In the order of the manifest."""
    provenance: dict[str, Any]
    """Metadata for the manifest besides the blocks: counts, settings and the plan's digest. No names."""
    flow: Flow
    """What the quality policy excluded."""
    withdrawn: int
    """Number of recordings excluded because their participant withdrew."""
    hours_not_worn: int
    """Number of excluded hours without a worn second, in the recordings that are used."""


def plan_shards(cohort: Cohort, options: ShardOptions, exclude: frozenset[str] = frozenset()) -> CohortPlan:
    """Plan the shards: every hour with at least one worn second, recordings in order of name.

    `exclude` contains participants whose recordings are excluded.

    Raises:
        HarnetError: no recording or no worn hour is left, or recordings differ in preprocessing.
    """
    collector = _Collector(cohort, options, exclude)
    counted = flow(collector.watch(cohort.infos()), len(cohort.unreadable()), options.quality)
    _check(cohort, counted, collector)
    shards = tuple(
        ShardPlan(number, name, split, pieces)
        for number, (name, split, pieces) in enumerate(
            (f"{split}-{place:06d}.tar", split, pieces)
            for split, cut in collector.cuts.items()
            for place, pieces in enumerate(cut.finished())
        )
    )
    provenance = {
        "plan": collector.digest.hexdigest(),
        "options": asdict(options) | {"quality": counted.as_dict()["policy"]},
        "preprocessing": json.loads(next(iter(collector.preprocessing))),
        "flow": counted.as_dict(),
        "withdrawn": collector.withdrawn,
        "devices": dict(sorted(collector.devices.items())),
    }
    if options.compression != "none":
        provenance["codec"] = (
            f"Blosc {blosc.VERSION_STRING}, zstd level {ZSTD_LEVEL}, bit-shuffle, blocks of {BLOSC_BLOCK} bytes"
        )
    return CohortPlan(shards, provenance, counted, collector.withdrawn, collector.not_worn)


@dataclass
class _Cut:
    """The shards of one split, filled one after the other."""

    size: int
    full: list[tuple[HoursInShard, ...]] = field(default_factory=list)
    open: list[HoursInShard] = field(default_factory=list)
    room: int = 0

    def add(self, recording: str, hours: NDArray[np.int32]) -> None:
        while len(hours):
            if not self.room:
                self.full += [tuple(self.open)] if self.open else []
                self.open, self.room = [], self.size
            # A copy, so that a shard does not keep alive the hours of the others.
            self.open.append(HoursInShard(recording, hours[: self.room].copy()))
            hours, self.room = hours[self.room :], self.room - len(self.open[-1].hours)

    def finished(self) -> Iterable[tuple[HoursInShard, ...]]:
        return [*self.full, tuple(self.open)] if self.open else self.full


class _Collector:
    """Fills the shards while the flow table is counted, in one pass over the recordings."""

    def __init__(self, cohort: Cohort, options: ShardOptions, exclude: frozenset[str]) -> None:
        self.cohort, self.options, self.exclude = cohort, options, exclude
        self.cuts: dict[Split, _Cut] = {split: _Cut(options.blocks_per_shard) for split in ("train", "heldout")}
        self.preprocessing: dict[str, str] = {}
        self.devices: Counter[str] = Counter()
        self.people: dict[str, tuple[str, str]] = {}
        self.withdrawn = self.not_worn = self.blocks = 0
        settings = asdict(options) | {"quality": None, "version": manifest.VERSION}
        self.digest = hashlib.sha256(_json(settings))

    def watch(self, infos: Iterable[RecordingInfo]) -> Iterator[RecordingInfo]:
        """Yield the recordings of participants who did not withdraw, and add those that pass the policy to shards."""
        for info in infos:
            if info.participant in self.exclude:
                self.withdrawn += 1
                continue
            if first_violated_rule(info, self.options.quality) is None:
                self._add(info)
            yield info

    def _add(self, info: RecordingInfo) -> None:
        if len(info.recording) > tar.LONGEST_FOLDER:
            raise HarnetError(
                f"{self.cohort.root}: the name of the recording {info.recording} has {len(info.recording)} characters, "
                f"a tar allows {tar.LONGEST_FOLDER}: give its file a shorter name and ingest it again"
            )
        if info.participant_xxh3:
            known, other = self.people.setdefault(info.participant, (info.participant_xxh3, info.recording))
            if known != info.participant_xxh3:
                raise HarnetError(
                    f"{self.cohort.root}: the recordings {other} and {info.recording} are of two people whose ids "
                    "became the same name: delete the folder of one, rename its file and ingest it again"
                )
        worn = np.flatnonzero(info.worn_seconds_by_hour).astype(np.int32)
        self.cuts[split_of(info.participant, self.options.split_salt)].add(info.recording, worn)
        self.blocks += len(worn)
        self.not_worn += info.hours - len(worn)
        self.devices[info.device] += 1
        self.preprocessing.setdefault(_json(info.preprocessing).decode(), info.recording)
        # Includes the file's content and how it was read, but not its time stamp: equal signals give an equal plan.
        source = [info.source[key] for key in ("name", "bytes", "xxh3", "kind", "settings")]
        self.digest.update(_json([info.recording, info.participant, info.first_hour, source, info.preprocessing]))
        self.digest.update(np.asarray(info.worn_seconds_by_hour, "<i4").tobytes())


def _check(cohort: Cohort, counted: Flow, found: _Collector) -> None:
    """Raise `HarnetError` unless there is something to shard, all with the same preprocessing."""
    if len(found.preprocessing) > 1:
        raise HarnetError(
            f"{cohort.root}: recordings {' and '.join(list(found.preprocessing.values())[:2])} were ingested with "
            "different settings; ingest them into a new cohort with the same settings"
        )
    if not counted.recordings:
        excluded = f" besides the {found.withdrawn} of excluded participants" if found.withdrawn else ""
        raise HarnetError(f"{cohort.root}: contains no recording{excluded}; nothing to shard")
    if not counted.kept:
        reasons = ", ".join(f"{rule}: {count}" for rule, count in counted.excluded.items() if count)
        raise HarnetError(
            f"{cohort.root}: the quality policy excludes all {counted.recordings} recordings ({reasons}); use them "
            "all with --quality none, or set other limits in a TOML file"
        )
    if not found.blocks:
        raise HarnetError(f"{cohort.root}: no worn hour in any of {counted.kept} recordings; nothing to shard")


def _json(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True).encode()
