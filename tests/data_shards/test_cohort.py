"""The cohort store: every listed recording is complete, whichever process was killed."""

import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from data_shards.cohort import store as cohort_module
from data_shards.cohort.store import Cohort, HourData, is_valid_name, sanitised
from data_shards.layout import LONGEST_NAME, MISSING, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.notes import Note
from harnet.errors import HarnetError
from tests import recording_info

INFO = replace(
    recording_info.INFO,
    notes=(Note("damaged blocks", 6, "of 145"),),
    metadata={"device_id": 1234, "exercise": "ROW"},
)


def signals(hours: int, seed: int = 0) -> HourData:
    draws = np.random.default_rng(seed)
    return HourData(
        accel=draws.integers(-99, 99, (3, hours * SAMPLES_PER_HOUR)).astype(np.int16),
        motion=draws.random(hours * SECONDS_PER_HOUR, np.float32),
        wear=draws.integers(0, 2, hours * SECONDS_PER_HOUR).astype(np.uint8),
    )


def add(cohort: Cohort, name: str = "p1", hours: int = 1, seed: int = 0) -> HourData:
    data = signals(hours, seed)
    info = replace(INFO, recording=name, hours=hours, worn_seconds_by_hour=(3600,) * hours)
    cohort.write(info, data.accel, data.motion, data.wear)
    return data


def add_many(root: Path, names: list[str]) -> None:
    cohort = Cohort.open(root)
    for name in names:
        add(cohort, name)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    data = add(cohort, "p1", hours=3)
    cohort = Cohort.open(cohort.root)
    assert cohort.recordings() == ["p1"]
    assert "p1" in cohort
    assert "p2" not in cohort
    info = cohort.info("p1")
    assert info == replace(INFO, hours=3, worn_seconds_by_hour=(3600,) * 3)
    assert info.worn_seconds == 3 * 3600
    for start, stop in ((0, 3), (0, 1), (1, 3), (2, 3)):
        part = cohort.read_hours("p1", start, stop)
        np.testing.assert_array_equal(part.accel, data.accel[:, start * SAMPLES_PER_HOUR : stop * SAMPLES_PER_HOUR])
        np.testing.assert_array_equal(part.motion, data.motion[start * 3600 : stop * 3600])
        np.testing.assert_array_equal(part.wear, data.wear[start * 3600 : stop * 3600])
        assert (part.accel.dtype, part.motion.dtype, part.wear.dtype) == (np.int16, np.float32, np.uint8)


def test_an_open_recording_reads_hours_in_any_order(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    data = add(cohort, "p1", hours=30)
    stored = cohort.open_recording("p1")
    assert stored.info == cohort.info("p1")
    for start, stop in ((0, 1), (1, 2), (29, 30), (23, 25), (3, 4), (0, 30), (24, 30)):
        part = stored.read_hours(start, stop)
        np.testing.assert_array_equal(part.accel, data.accel[:, start * SAMPLES_PER_HOUR : stop * SAMPLES_PER_HOUR])
        np.testing.assert_array_equal(part.motion, data.motion[start * 3600 : stop * 3600])
        np.testing.assert_array_equal(part.wear, data.wear[start * 3600 : stop * 3600])
    for start, stop in ((-1, 1), (0, 31), (2, 2), (3, 2)):
        with pytest.raises(HarnetError, match=f"hours {start} to {stop} requested, the recording has 30"):
            stored.read_hours(start, stop)


def test_any_zarr_reader_can_read_it(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    data = add(cohort)
    group = zarr.open_group(cohort.root, mode="r")
    assert group.attrs["harnet_cohort"] == 3
    array = group["p1/accel"]
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(np.asarray(array[:]), data.accel)
    assert array.chunks == (3, SAMPLES_PER_HOUR)


def test_ten_files_at_most_and_missing_hours_cost_nothing(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    hours = 150
    accel = np.full((3, hours * SAMPLES_PER_HOUR), MISSING, np.int16)
    accel[:, ::SAMPLES_PER_HOUR] = 7
    info = replace(INFO, hours=hours, worn_seconds_by_hour=(0,) * hours)
    cohort.write(info, accel, np.zeros(hours * 3600, np.float32), np.zeros(hours * 3600, np.uint8))
    files = [path for path in (cohort.root / "p1").rglob("*") if path.is_file()]
    assert len(files) <= 10
    consolidated = json.loads((cohort.root / "p1" / "zarr.json").read_text())["consolidated_metadata"]["metadata"]
    assert set(consolidated) == {"accel", "motion", "wear"}  # one read opens the recording
    assert sum(path.stat().st_size for path in files) < accel.nbytes / 100
    np.testing.assert_array_equal(cohort.read_hours("p1", 100, 101).accel[:, :2], [[7, MISSING]] * 3)


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    first = add(cohort, seed=1)
    with pytest.raises(HarnetError, match="p1 already exists"):
        add(cohort, seed=2)
    np.testing.assert_array_equal(cohort.read_hours("p1", 0, 1).accel, first.accel)
    assert sorted(os.listdir(cohort.root)) == [".index", "p1", "zarr.json"]


def test_many_writers_at_once(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    context = multiprocessing.get_context("spawn")
    names = [[f"w{writer}-{number}" for number in range(3)] for writer in range(2)]
    writers = [context.Process(target=add_many, args=(cohort.root, some)) for some in names]
    for writer in writers:
        writer.start()
    Cohort.create(cohort.root)  # must not remove files that others are writing
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert cohort.recordings() == sorted(name for some in names for name in some)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")

    def full(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("data_shards.cohort.store.fsync_tree", full)
    with pytest.raises(OSError, match="No space left"):
        add(cohort)
    assert cohort.recordings() == []
    assert os.listdir(cohort.root) == ["zarr.json"]


def test_what_a_killed_writer_left_is_removed_by_the_next_create(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    process = multiprocessing.get_context("spawn").Process(target=write_and_die, args=(cohort.root,))
    process.start()
    process.join()
    assert process.exitcode == 9
    (left,) = [name for name in os.listdir(cohort.root) if name != "zarr.json"]
    assert left.startswith(".writing-")
    assert cohort.recordings() == []
    ours = cohort.root / left.replace(f"-{process.pid}-", f"-{os.getpid()}-")
    shutil.copytree(cohort.root / left, ours)
    Cohort.create(cohort.root)
    assert sorted(os.listdir(cohort.root)) == [ours.name, "zarr.json"]  # files of a live process are kept


def write_and_die(root: Path) -> None:
    cohort_module.__dict__["fsync_tree"] = lambda folder: os._exit(9)
    add(Cohort.open(root))


def test_a_killed_create_leaves_nothing_for_long(tmp_path: Path) -> None:
    """Killed before the rename, it leaves a temporary file; the next writer to open the store removes it."""
    process = multiprocessing.get_context("spawn").Process(target=create_and_die, args=(tmp_path / "cohort.zarr",))
    process.start()
    process.join()
    assert process.exitcode == 9
    (left,) = (tmp_path / "cohort.zarr").iterdir()
    assert left.name.startswith(".zarr.json.")
    ours = left.with_name(left.name.replace(f"-{process.pid}-", f"-{os.getpid()}-"))
    shutil.copy(left, ours)
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    assert sorted(os.listdir(cohort.root)) == [ours.name, "zarr.json"]  # files of a live process are kept


def create_and_die(root: Path) -> None:
    os.replace = lambda *paths: os._exit(9)  # type: ignore[assignment]
    Cohort.create(root)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(HarnetError, match="contains other files"):
        Cohort.create(tmp_path)
    with pytest.raises(HarnetError, match="is a file"):
        Cohort.create(tmp_path / "notes.txt")
    with pytest.raises(HarnetError, match="not part of a cohort store"):
        Cohort.open(tmp_path / "absent")
    zarr.create_group(tmp_path / "other.zarr")
    for opened in (Cohort.open, Cohort.create):
        with pytest.raises(HarnetError, match="not a harnet cohort"):
            opened(tmp_path / "other.zarr")


def test_damage_and_newer_formats_are_told(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    add(cohort)
    (cohort.root / "p1" / "zarr.json").write_text('{"attributes": {"recording": "p1"}}')
    with pytest.raises(HarnetError, match="not a recording of this cohort format"):
        cohort.info("p1")
    (cohort.root / "p1" / "zarr.json").write_text("{")
    with pytest.raises(HarnetError, match="damaged"):
        cohort.info("p1")
    (cohort.root / "zarr.json").write_text(json.dumps({"attributes": {"harnet_cohort": 4}}))
    with pytest.raises(HarnetError, match="cohort format 4, this version reads 3: upgrade"):
        Cohort.open(cohort.root)
    (cohort.root / "zarr.json").write_text(json.dumps({"attributes": {"harnet_cohort": 1}}))
    with pytest.raises(HarnetError, match="from an older version"):
        Cohort.open(cohort.root)


@pytest.mark.parametrize("name", ["../p1", "..", ".", "", "a/b", "/etc", "a..b", ".hidden", "-rf", "zarr.json", "p 1"])
def test_no_name_leads_out_of_the_store(tmp_path: Path, name: str) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    with pytest.raises(HarnetError, match="cannot name a recording"):
        cohort.info(name)
    with pytest.raises(HarnetError, match="cannot name a recording"):
        add(cohort, name)
    with pytest.raises(HarnetError, match="p1: hours 1 to 2 requested, the recording has 1"):
        add(cohort) and cohort.read_hours("p1", 1, 2)


@given(st.text(max_size=LONGEST_NAME - 1))
def test_any_text_can_be_made_a_name(text: str) -> None:
    assert is_valid_name(sanitised(text))
    assert sanitised(sanitised(text)) == sanitised(text)
