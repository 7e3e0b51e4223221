"""One recording in the cohort store: its Zarr group, written whole, and read by the hour.

Files: one `zarr.json` with the metadata of the whole group consolidated (one read opens it), the signal in at most
`ACCEL_SHARDS` shards of compressed hours, and one chunk each for motion and wear. Ten files at most, however long. A
CRC-32C follows every hour and every chunk, and is checked whenever one is decoded; `integrity.py` covers the rest.
"""

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec

from data_shards.cohort import integrity
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
            HarnetError: not all of them are there, or they are damaged.
        """
        if not 0 <= start < stop <= self.info.hours:
            raise HarnetError(f"{self.folder}: hours {start} to {stop} asked of a recording of {self.info.hours}")
        samples = slice(start * SAMPLES_PER_HOUR, stop * SAMPLES_PER_HOUR)
        seconds = slice(start * SECONDS_PER_HOUR, stop * SECONDS_PER_HOUR)
        return HourData(
            accel=np.asarray(self._read("accel", (slice(None), samples)), np.int16),
            motion=np.asarray(self._read("motion", seconds), np.float32),
            wear=np.asarray(self._read("wear", seconds), np.uint8),
        )

    def read_wear(self) -> NDArray[np.uint8]:
        """(hours * 3600,) wear of the whole recording, without its signal; `HarnetError` if it is damaged."""
        return np.asarray(self._read("wear", slice(None)), np.uint8)

    def read_motion(self) -> NDArray[np.float32]:
        """(hours * 3600,) motion in g of the whole recording; `HarnetError` if it is damaged."""
        return np.asarray(self._read("motion", slice(None)), np.float32)

    def _read(self, name: str, selection: Any) -> Any:
        array = self.group[name]
        assert isinstance(array, zarr.Array)
        try:
            return array[selection]
        except (ValueError, RuntimeError) as error:  # of a checksum, or of Blosc
            raise integrity.damaged(self.folder / name, error) from error


def open_arrays(folder: Path, info: RecordingInfo) -> StoredRecording:
    """Open the group that `write_arrays` wrote."""
    return StoredRecording(folder, info, zarr.open_group(folder, mode="r"))


def write_arrays(folder: Path, info: RecordingInfo, data: HourData) -> None:
    """Write a group to the new folder `folder`, sealed; not yet flushed to disk."""
    group = zarr.create_group(folder, zarr_format=3, attributes=json.loads(json.dumps(asdict(info))))
    shard_hours = min(info.hours, max(LEAST_SHARD_HOURS, -(-info.hours // ACCEL_SHARDS)))
    shard = shard_hours * SAMPLES_PER_HOUR
    accel = group.create_array(
        "accel",
        shape=data.accel.shape,
        dtype=data.accel.dtype,
        chunks=(3, SAMPLES_PER_HOUR),
        shards=(3, shard),
        compressors=_compressors(data.accel),
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
            compressors=_compressors(values),
            fill_value=0,
            dimension_names=("second",),
        )
        seconds[:] = values
    with warnings.catch_warnings():
        # True of the specification as written; zarr-python, which reads it back, keeps it in `zarr.json`.
        warnings.filterwarnings("ignore", "Consolidated metadata is currently not part in the Zarr format 3")
        zarr.consolidate_metadata(group.store)
    integrity.seal(folder)


def _compressors(values: NDArray[Any]) -> tuple[BloscCodec, Crc32cCodec]:
    return BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=values.dtype.itemsize), Crc32cCodec()
