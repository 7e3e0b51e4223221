"""One recording in the cohort store: its Zarr group, written whole, and read by the hour.

Files: one `zarr.json` with the metadata of the whole group consolidated (one read opens it), the signal in at most
`ACCEL_SHARDS` shards of compressed hours, and one chunk each for motion and wear. Ten files at most, however long.
"""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from data_shards.cohort.info import RecordingInfo
from data_shards.layout import MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from harnet.errors import HarnetError

ACCEL_SHARDS = 4
"""Files that hold the signal of a recording of many days: with the rest, ten files a recording at most."""
LEAST_SHARD_HOURS = 24
"""Short recordings are one file; a file below a day would only cost inodes."""


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
class StoredRecording:
    """An open recording, for reading many of its hours; a day at a time costs half of hour by hour."""

    folder: Path
    """The recording's group."""
    info: RecordingInfo
    """What is known of it."""
    group: zarr.Group
    """Open for reading."""

    def read_hours(self, start: int, stop: int) -> HourData:
        """Hours start..stop-1 counted from the recording's first.

        Raises:
            HarnetError: not all of them are there.
        """
        if not 0 <= start < stop <= self.info.hours:
            raise HarnetError(f"{self.folder}: hours {start} to {stop} asked of a recording of {self.info.hours}")
        samples = slice(start * SAMPLES_PER_HOUR, stop * SAMPLES_PER_HOUR)
        seconds = slice(start * SECONDS_PER_HOUR, stop * SECONDS_PER_HOUR)
        return HourData(
            accel=np.asarray(_array(self.group, "accel")[:, samples], np.int16),
            motion=np.asarray(_array(self.group, "motion")[seconds], np.float32),
            wear=np.asarray(_array(self.group, "wear")[seconds], np.uint8),
        )

    def read_wear(self) -> NDArray[np.uint8]:
        """(hours * 3600,) wear of the whole recording, without its signal."""
        return np.asarray(_array(self.group, "wear")[:], np.uint8)


def open_arrays(folder: Path, info: RecordingInfo) -> StoredRecording:
    """Open the group that `write_arrays` wrote."""
    return StoredRecording(folder, info, zarr.open_group(folder, mode="r"))


def write_arrays(folder: Path, info: RecordingInfo, data: HourData) -> None:
    """Write a group to the new folder `folder`; not yet flushed to disk."""
    group = zarr.create_group(folder, zarr_format=3, attributes=json.loads(json.dumps(asdict(info))))
    shard_hours = min(info.hours, max(LEAST_SHARD_HOURS, -(-info.hours // ACCEL_SHARDS)))
    shard = shard_hours * SAMPLES_PER_HOUR
    accel = group.create_array(
        "accel",
        shape=data.accel.shape,
        dtype=data.accel.dtype,
        chunks=(3, SAMPLES_PER_HOUR),
        shards=(3, shard),
        compressors=_compressor(data.accel),
        fill_value=MISSING,
        dimension_names=("axis", "sample"),
        attributes={"units": f"1/4096 g at {RATE} Hz"},
    )
    for start in range(0, data.accel.shape[1], shard):
        # One shard at a time: only then is each file written once, and memory holds one of them.
        accel[:, start : start + shard] = data.accel[:, start : start + shard]
    for name, values in (("motion", data.motion), ("wear", data.wear)):
        seconds = group.create_array(
            name,
            shape=values.shape,
            dtype=values.dtype,
            chunks=values.shape,
            compressors=_compressor(values),
            fill_value=0,
            dimension_names=("second",),
        )
        seconds[:] = values
    with warnings.catch_warnings():
        # True of the specification as written; zarr-python, which reads it back, keeps it in `zarr.json`.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part in the Zarr format 3")
        zarr.consolidate_metadata(group.store)


def _compressor(values: NDArray[Any]) -> BloscCodec:
    return BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=values.dtype.itemsize)


def _array(group: zarr.Group, name: str) -> "zarr.Array[Any]":
    array = group[name]
    assert isinstance(array, zarr.Array)
    return array
