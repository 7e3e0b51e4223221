"""The cohort store: 30 Hz recordings in one Zarr v3 hierarchy, a group a recording, written once and never changed.

A recording is written under a hidden name inside the store and renamed when it is whole and on disk. So whatever is
listed is complete, and many processes may add recordings at once.
"""

import json
import os
import re
import shutil
import socket
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from data_shards.layout import MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from harnet.errors import HarnetError
from harnet.files import fsync_tree, publish, write_atomically

FORMAT = 1
"""Raised when a reader of the old layout could not read the new one."""
ACCEL_SHARDS = 4
"""Files that hold the signal of a recording of many days: with the rest, ten files a recording at most."""
LEAST_SHARD_HOURS = 24
"""Short recordings are one file; a file below a day would only cost inodes."""
STALE_SECONDS = 24 * 3600
"""After a day without a change, a temporary folder of another machine belongs to no running process."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_TEMPORARY = re.compile(r"\.writing-(?P<host>[0-9a-f]{8})-(?P<pid>\d+)-[0-9a-f]{32}")


class Source(TypedDict):
    """The file that a recording came from, and how it was read."""

    name: str
    """File name without its folder."""
    bytes: int
    """Size of the file."""
    xxh3: str
    """XXH3, 64 bits, in hexadecimal, of the whole file."""
    kind: str
    """`Reader.kind`."""
    settings: dict[str, str]
    """`Reader.settings`: columns and units of a table, nothing for a device that fixes its own."""


class Preprocessing(TypedDict):
    """What was done to every signal alike: recordings with equal values can be compared, whatever the device."""

    rate: int
    """Samples per second as stored."""
    units: str
    """Unit of the signal, before it is scaled to integers."""
    counts_per_g: int
    """Stored integer that is 1 g."""
    filter: str
    """How the device's rate became `rate`."""
    wear_rule: str
    """How wear was told from non-wear."""


@dataclass(frozen=True)
class RecordingInfo:
    """What is known of a stored recording without reading its signal."""

    recording: str
    """Name in the store: letters, digits, `_`, `-` and `.`."""
    participant: str
    """Pseudonym of the wearer; all recordings of one person share it."""
    first_hour: int
    """Clock hour since 1970-01-01 00:00, on the device's clock, at which the arrays begin."""
    hours: int
    """Length of the arrays in hours."""
    device: str
    """Maker and model."""
    clock: str
    """"utc", "local" or "none", as in `Recording.clock`."""
    nominal_rate: float
    """Hz that the device was set to."""
    worn_seconds_by_hour: tuple[int, ...]
    """(hours,) complete seconds in which the device was worn, so that a planner need not open the signal."""
    complete_seconds: int
    """Seconds without a missing sample."""
    notes: tuple[str, ...]
    """What was dropped or repaired, for people."""
    metadata: dict[str, str | int | float]
    """Facts from the device file's header."""
    source: Source
    """Where it came from."""
    preprocessing: Preprocessing
    """What was done to it."""
    package_version: str
    """Version of harnet that wrote it. No setting: an upgrade alone changes no number."""

    @property
    def worn_seconds(self) -> int:
        """Complete seconds in which the device was worn."""
        return sum(self.worn_seconds_by_hour)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "RecordingInfo":
        """The inverse of `dataclasses.asdict` through JSON; TypeError or KeyError if `values` is something else."""
        tuples = {key: tuple(values[key]) for key in ("notes", "worn_seconds_by_hour")}
        return cls(**{**values, **tuples})


@dataclass(frozen=True)
class HourData:
    """A run of whole hours of one recording."""

    accel: NDArray[np.int16]
    """(3, hours * 108,000) in 1/4096 g; -32768 where missing."""
    motion: NDArray[np.float32]
    """(hours * 3600,) in g: sqrt of the summed variances of the axes over each second."""
    wear: NDArray[np.uint8]
    """(hours * 3600,): 1 where the second is complete and worn."""


@dataclass(frozen=True)
class Cohort:
    """A store on a local or shared file system; make one with `create` or `open`."""

    root: Path
    """The store's folder, such as cohort.zarr."""

    @classmethod
    def create(cls, path: Path) -> "Cohort":
        """Make the store, or open it if it is there, and remove what killed writers left.

        Raises `HarnetError` if the folder holds something else.
        """
        path = Path(path)
        if (path / "zarr.json").exists():
            cohort = cls.open(path)
        elif path.is_dir() and any(not entry.name.startswith(".") for entry in path.iterdir()):
            raise HarnetError(f"{path}: holds other files and is no cohort: give the name of a new folder")
        else:
            try:
                path.mkdir(parents=True, exist_ok=True)
            except FileExistsError:
                raise HarnetError(f"{path}: is a file: give the name of a new folder for the cohort") from None
            write_atomically(path / "zarr.json", _group_json({"harnet_cohort": FORMAT}))
            cohort = cls(path)
        cohort._remove_stale()
        return cohort

    @classmethod
    def open(cls, path: Path) -> "Cohort":
        """Open an existing store; `HarnetError` if there is none at `path`."""
        path = Path(path)
        version = _attributes(path).get("harnet_cohort")
        if version is None:
            raise HarnetError(f"{path}: not a harnet cohort: give the folder that `harnet ingest --out` wrote")
        if version != FORMAT:
            raise HarnetError(f"{path}: cohort format {version!r}, this harnet reads {FORMAT}: upgrade harnet")
        return cls(path)

    def recordings(self) -> list[str]:
        """Names of all complete recordings, sorted. Lists one folder and opens nothing."""
        with os.scandir(self.root) as entries:
            return sorted(entry.name for entry in entries if _NAME.fullmatch(entry.name) and entry.is_dir())

    def __contains__(self, recording: str) -> bool:
        """Whether the recording is there and complete."""
        return (self._folder(recording) / "zarr.json").is_file()

    def info(self, recording: str) -> RecordingInfo:
        """What is known of a recording, from one small JSON file."""
        folder = self._folder(recording)
        try:
            return RecordingInfo.from_json(_attributes(folder))
        except (TypeError, KeyError, AttributeError) as error:
            raise HarnetError(
                f"{folder}: not a recording of this cohort format ({error}): remove the folder and ingest it again"
            ) from error

    def read_hours(self, recording: str, start_hour_index: int, stop_hour_index: int) -> HourData:
        """Hours start..stop-1 counted from the recording's first; `HarnetError` if they are not all there."""
        group = zarr.open_group(self._folder(recording), mode="r")
        hours = int(_array(group, "motion").shape[0]) // SECONDS_PER_HOUR
        if not 0 <= start_hour_index < stop_hour_index <= hours:
            raise HarnetError(
                f"{self.root}: hours {start_hour_index} to {stop_hour_index} asked of {recording}, which has {hours}"
            )
        seconds = slice(start_hour_index * SECONDS_PER_HOUR, stop_hour_index * SECONDS_PER_HOUR)
        samples = slice(start_hour_index * SAMPLES_PER_HOUR, stop_hour_index * SAMPLES_PER_HOUR)
        return HourData(
            accel=np.asarray(_array(group, "accel")[:, samples], np.int16),
            motion=np.asarray(_array(group, "motion")[seconds], np.float32),
            wear=np.asarray(_array(group, "wear")[seconds], np.uint8),
        )

    def write(
        self, info: RecordingInfo, accel: NDArray[np.int16], motion: NDArray[np.float32], wear: NDArray[np.uint8]
    ) -> None:
        """Add a recording: durable and complete when this returns, absent if it does not.

        Shapes as in `HourData`. Raises `HarnetError` if the name is taken.
        """
        assert accel.shape == (3, info.hours * SAMPLES_PER_HOUR)
        assert accel.dtype == np.int16
        assert motion.shape == wear.shape == (info.hours * SECONDS_PER_HOUR,)
        final = self._folder(info.recording)
        temporary = self.root / f".writing-{_host()}-{os.getpid()}-{uuid.uuid4().hex}"
        try:
            _write_arrays(temporary, info, accel, motion, wear)
            fsync_tree(temporary)
            _publish_new(temporary, final, info.recording)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _folder(self, recording: str) -> Path:
        if not is_valid_name(recording):
            raise HarnetError(
                f"{self.root}: {recording!r} cannot name a recording: letters, digits, '_', '-', '.' only"
            )
        return self.root / recording

    def _remove_stale(self) -> None:
        """Remove folders of writers that are gone, and never those of writers at work here or elsewhere."""
        for entry in self.root.iterdir():
            match = _TEMPORARY.fullmatch(entry.name)
            if match is None:
                continue
            try:
                old = time.time() - entry.stat().st_mtime > STALE_SECONDS
            except FileNotFoundError:
                continue  # its writer finished just now
            if old or (match["host"] == _host() and not _is_alive(int(match["pid"]))):
                shutil.rmtree(entry, ignore_errors=True)


def is_valid_name(recording: str) -> bool:
    """Whether a name is safe as a folder of the store, whatever wrote it."""
    return bool(_NAME.fullmatch(recording)) and ".." not in recording and recording != "zarr.json"


def sanitised(name: str) -> str:
    """A valid recording name made from any text: every other character becomes `_`."""
    safe = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9_.-]", "_", name))[:200]
    safe = re.sub(r"^[.-]", "_", safe) or "_"
    return "_" + safe if safe == "zarr.json" else safe


def _write_arrays(
    folder: Path, info: RecordingInfo, accel: NDArray[np.int16], motion: NDArray[np.float32], wear: NDArray[np.uint8]
) -> None:
    group = zarr.create_group(folder, zarr_format=3, attributes=json.loads(json.dumps(asdict(info))))
    shard_hours = min(info.hours, max(LEAST_SHARD_HOURS, -(-info.hours // ACCEL_SHARDS)))
    for name, data, fill, hour, shard in (
        ("accel", accel, MISSING, (3, SAMPLES_PER_HOUR), (3, shard_hours * SAMPLES_PER_HOUR)),
        ("motion", motion, 0.0, (SECONDS_PER_HOUR,), (info.hours * SECONDS_PER_HOUR,)),
        ("wear", wear, 0, (SECONDS_PER_HOUR,), (info.hours * SECONDS_PER_HOUR,)),
    ):
        array = group.create_array(
            name,
            shape=data.shape,
            dtype=data.dtype,
            chunks=hour,
            shards=shard,
            compressors=BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=data.dtype.itemsize),
            fill_value=fill,
            dimension_names=("axis", "sample") if name == "accel" else ("second",),
            attributes={"units": f"1/4096 g at {RATE} Hz"} if name == "accel" else {},
        )
        for start in range(0, data.shape[-1], shard[-1]):
            # One shard at a time: only then is each file written once, and memory holds one of them.
            array[..., start : start + shard[-1]] = data[..., start : start + shard[-1]]


def _publish_new(temporary: Path, final: Path, recording: str) -> None:
    """Rename without replacing: of two writers of one name, the second fails."""
    try:
        publish(temporary, final)
    except OSError as error:
        if not final.exists():
            raise
        raise HarnetError(f"{final.parent}: {recording} is there already: name one of the two differently") from error


def _array(group: zarr.Group, name: str) -> "zarr.Array[Any]":
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array


def _group_json(attributes: dict[str, Any]) -> str:
    return json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=2)


def _attributes(folder: Path) -> dict[str, Any]:
    """The attributes in a group's `zarr.json` (Zarr v3 specification, "Group metadata").

    Read as plain JSON: through the library it takes many times as long, and a cohort has 100,000 of them.
    """
    try:
        found = json.loads((folder / "zarr.json").read_bytes())
    except FileNotFoundError:
        raise HarnetError(f"{folder}: nothing of a cohort there: give the folder that `harnet ingest` wrote") from None
    except ValueError as error:
        raise HarnetError(f"{folder / 'zarr.json'}: damaged ({error}): ingest into a new folder") from error
    attributes = found.get("attributes", {}) if isinstance(found, dict) else {}
    return attributes if isinstance(attributes, dict) else {}


def _host() -> str:
    """A short name of this machine that is safe in a file name."""
    return uuid.uuid5(uuid.NAMESPACE_DNS, socket.gethostname()).hex[:8]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
