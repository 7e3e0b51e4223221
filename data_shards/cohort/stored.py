"""One recording in the cohort store: its Zarr group, written and read hour by hour.

Files: one `zarr.json` with the consolidated metadata of the group (opened with one read), the signal in
`ACCEL_SHARDS` shards of compressed hours, and one chunk each for motion and wear: at most ten files for eight weeks.
Longer recordings have a shard and two chunks for every two weeks with data. A CRC-32C follows every hour and every
chunk and is checked when it is decoded; `integrity.py` covers the rest.
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
"""Number of signal files of a recording of many days; with the rest, at most ten files per recording."""
LONGEST_SHARD_HOURS = 14 * 24
"""Maximum hours per file: a file is buffered in memory, 218 MB for two weeks, before it is written."""
LEAST_SHARD_HOURS = 24
"""Minimum hours per file: short recordings are one file, because smaller files would only cost inodes."""


@dataclass(frozen=True)
class HourData:
    """Consecutive whole hours of one recording."""

    accel: NDArray[np.int16]
    """(3, hours * 108,000) counts of 1/4096 g; -32768 where missing."""
    motion: NDArray[np.float32]
    """(hours * 3600,) in g: square root of the sum of the axes' variances over each second."""
    wear: NDArray[np.uint8]
    """(hours * 3600,): 1 where the second is complete and worn."""


@dataclass(frozen=True)
class StoredRecording:
    """An open recording, for reading many of its hours; reading a day at a time takes half as long as by the hour."""

    folder: Path
    """Folder of the recording's group."""
    info: RecordingInfo
    """Its metadata."""
    group: zarr.Group
    """The group, open for reading."""

    def read_hours(self, start: int, stop: int) -> HourData:
        """Hours start..stop-1, counted from the recording's first.

        Raises:
            HarnetError: some do not exist or are damaged.
        """
        if not 0 <= start < stop <= self.info.hours:
            raise HarnetError(f"{self.folder}: hours {start} to {stop} requested, the recording has {self.info.hours}")
        samples = slice(start * SAMPLES_PER_HOUR, stop * SAMPLES_PER_HOUR)
        seconds = slice(start * SECONDS_PER_HOUR, stop * SECONDS_PER_HOUR)
        return HourData(
            accel=np.asarray(self._read("accel", (slice(None), samples)), np.int16),
            motion=np.asarray(self._read("motion", seconds), np.float32),
            wear=np.asarray(self._read("wear", seconds), np.uint8),
        )

    def read_wear(self) -> NDArray[np.uint8]:
        """Wear (hours * 3600,) of the whole recording, without reading its signal; `HarnetError` if it is damaged."""
        return np.asarray(self._read("wear", slice(None)), np.uint8)

    def read_motion(self) -> NDArray[np.float32]:
        """Motion (hours * 3600,) in g of the whole recording; `HarnetError` if it is damaged."""
        return np.asarray(self._read("motion", slice(None)), np.float32)

    def _read(self, name: str, selection: Any) -> Any:
        array = self.group[name]
        assert isinstance(array, zarr.Array)
        try:
            return array[selection]
        except (ValueError, RuntimeError) as error:  # of a checksum, or of Blosc
            raise integrity.damaged(self.folder / name, error) from error


def open_arrays(folder: Path, info: RecordingInfo) -> StoredRecording:
    """Open the group that `ArrayWriter` wrote."""
    return StoredRecording(folder, info, zarr.open_group(folder, mode="r"))


class ArrayWriter:
    """Writes a group to a new folder, hour by hour; omitted hours are empty and take no space."""

    def __init__(self, folder: Path, hours: int) -> None:
        self._folder = folder
        self._group = zarr.create_group(folder, zarr_format=3)
        shard = min(hours, LONGEST_SHARD_HOURS, max(LEAST_SHARD_HOURS, -(-hours // ACCEL_SHARDS)))
        whole = hours <= ACCEL_SHARDS * LONGEST_SHARD_HOURS
        seconds = (hours if whole else shard) * SECONDS_PER_HOUR
        self._parts = [
            _Part(
                self._group.create_array(
                    "accel",
                    shape=(3, hours * SAMPLES_PER_HOUR),
                    dtype=np.int16,
                    chunks=(3, SAMPLES_PER_HOUR),
                    shards=(3, shard * SAMPLES_PER_HOUR),
                    compressors=_compressors(np.dtype(np.int16)),
                    fill_value=MISSING,
                    dimension_names=("axis", "sample"),
                    attributes={"units": f"1/4096 g at {RATE} Hz"},
                ),
                shard * SAMPLES_PER_HOUR,
            )
        ]
        for name, kind in (("motion", np.dtype(np.float32)), ("wear", np.dtype(np.uint8))):
            array = self._group.create_array(
                name,
                shape=(hours * SECONDS_PER_HOUR,),
                dtype=kind,
                chunks=(seconds,),
                compressors=_compressors(kind),
                fill_value=0,
                dimension_names=("second",),
            )
            self._parts.append(_Part(array, seconds))

    def add(self, hour: int, data: HourData) -> None:
        """Add whole hours, starting with hour `hour` of the recording, in order of time."""
        arrays: tuple[NDArray[Any], ...] = (data.accel, data.motion, data.wear)
        for part, values in zip(self._parts, arrays, strict=True):
            part.add(hour, values)

    def finish(self, info: RecordingInfo) -> None:
        """Write the metadata and seal the group; not yet fsynced."""
        for part in self._parts:
            part.flush()
        self._group.update_attributes(json.loads(json.dumps(asdict(info))))
        with warnings.catch_warnings():
            # The warning is correct about the specification, but zarr-python itself stores and reads it.
            warnings.filterwarnings("ignore", "Consolidated metadata is currently not part in the Zarr format 3")
            zarr.consolidate_metadata(self._group.store)
        integrity.seal(self._folder)


class _Part:
    """One array, buffered until a file is full, so that each file is written once and one at a time is in memory."""

    def __init__(self, array: "zarr.Array[Any]", length: int) -> None:
        self._array = array
        self._length = length
        self._begin = 0
        self._buffer: NDArray[Any] | None = None

    def add(self, hour: int, values: NDArray[Any]) -> None:
        """Add hours, along the last axis."""
        at = hour * (SAMPLES_PER_HOUR if values.ndim == 2 else SECONDS_PER_HOUR)
        done = 0
        while done < values.shape[-1]:
            begin = (at + done) // self._length * self._length
            if begin != self._begin:
                self.flush()
                self._begin = begin
            if self._buffer is None:
                length = min(self._length, self._array.shape[-1] - begin)
                self._buffer = np.full((*values.shape[:-1], length), self._array.fill_value, values.dtype)
            into = at + done - begin
            count = min(values.shape[-1] - done, self._buffer.shape[-1] - into)
            assert count > 0
            self._buffer[..., into : into + count] = values[..., done : done + count]
            done += count

    def flush(self) -> None:
        """Write the buffered hours."""
        if self._buffer is not None:
            self._array[..., self._begin : self._begin + self._buffer.shape[-1]] = self._buffer
            self._buffer = None


def _compressors(kind: np.dtype[Any]) -> tuple[BloscCodec, Crc32cCodec]:
    return BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=kind.itemsize), Crc32cCodec()
