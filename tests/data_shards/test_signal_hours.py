import shutil
from pathlib import Path

import numpy as np
import pytest

from data_shards.cohort.store import Cohort
from data_shards.cohort.stored import ArrayWriter
from data_shards.layout import MISSING, SAMPLES_PER_HOUR
from data_shards.shards.signal_hours import SignalHours
from harnet.errors import HarnetError


def test_every_hour_is_what_zarr_reads(cohort: Cohort) -> None:
    for name in cohort.recordings():
        stored = cohort.open_recording(name)
        signal = SignalHours(stored)
        for hour in [*range(stored.info.hours), 0]:
            np.testing.assert_array_equal(signal.read(hour), stored.read_hours(hour, hour + 1).accel)


@pytest.fixture
def long(cohort: Cohort, tmp_path: Path) -> Cohort:
    """A recording of two files; the second file and some hours of the first are empty."""
    source = cohort.open_recording(cohort.recordings()[0])
    data = source.read_hours(0, source.info.hours)
    hours = 30
    accel = np.full((3, hours * SAMPLES_PER_HOUR), MISSING, np.int16)
    accel[:, : data.accel.shape[1]] = data.accel
    info = source.info.__class__(**{**vars(source.info), "hours": hours, "worn_seconds_by_hour": (0,) * hours})
    made = Cohort.create(tmp_path / "cohort.zarr")
    empty = np.zeros(hours * 3600)
    writer = ArrayWriter(made.root / info.recording, hours)
    writer.add(0, data.__class__(accel, empty.astype("f4"), empty.astype("u1")))
    writer.finish(info)
    return made


def test_hours_and_files_without_a_sample_are_missing(long: Cohort) -> None:
    stored = long.open_recording(long.recordings()[0])
    assert [path.name for path in (stored.folder / "accel" / "c" / "0").iterdir()] == ["0"]
    signal = SignalHours(stored)
    for hour in (0, 1, 2, 10, 25, 29, 1):
        np.testing.assert_array_equal(signal.read(hour), stored.read_hours(hour, hour + 1).accel)


def test_a_damaged_file_is_named(cohort: Cohort, tmp_path: Path) -> None:
    shutil.copytree(cohort.root, tmp_path / "cohort.zarr")
    name = cohort.recordings()[0]
    path = tmp_path / "cohort.zarr" / name / "accel" / "c" / "0" / "0"
    sound = path.read_bytes()
    for content, says in (
        (sound[: len(sound) // 2] + sound[-200:], "damaged"),
        (bytes(16) + sound[16:], "damaged"),
        (b"short", "5 bytes"),
    ):
        path.write_bytes(content)
        with pytest.raises(HarnetError, match=says):
            read_two(Cohort.open(tmp_path / "cohort.zarr"), name)


def read_two(cohort: Cohort, name: str) -> None:
    signal = SignalHours(cohort.open_recording(name))
    for hour in range(2):
        signal.read(hour)


def test_no_flipped_bit_passes_where_zarr_is_passed_by(cohort: Cohort, tmp_path: Path) -> None:
    shutil.copytree(cohort.root, tmp_path / "cohort.zarr")
    copy, name = Cohort.open(tmp_path / "cohort.zarr"), cohort.recordings()[0]
    path = copy.root / name / "accel" / "c" / "0" / "0"
    sound, random, refused = path.read_bytes(), np.random.default_rng(15), 0
    expected = [SignalHours(cohort.open_recording(name)).read(hour).tobytes() for hour in range(2)]
    for _ in range(40):
        content, bit = bytearray(sound), int(random.integers(8 * len(sound)))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        signal = SignalHours(copy.open_recording(name))
        try:
            assert [signal.read(hour).tobytes() for hour in range(2)] == expected, f"bit {bit}"
        except HarnetError:
            refused += 1
    assert refused > 20
