"""The index of a store agrees with its folders after any write, merge, copy, removal or kill."""

import json
import multiprocessing
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_shards.cohort import index as cohort_index
from data_shards.cohort import ledger
from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.layout import MISSING, SAMPLES_PER_HOUR
from data_shards.notes import Note
from harnet.errors import HarnetError
from tests import recording_info

INFO = replace(
    recording_info.INFO,
    wall_shifts=({"from_second": 5, "add_seconds": 3600},),
    worn_seconds_by_hour=(0,),
    complete_seconds=0,
    notes=(Note("cut end", 1, "a note\twith a tab\nand a line"),),
    metadata={"device_id": 1, "é": "ü"},
)
ACCEL = np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16)


def add(cohort: Cohort, name: str, device: str = "test") -> None:
    info = replace(INFO, recording=name, participant=f"person-{name}", device=device)
    cohort.write(info, ACCEL, np.zeros(3600, np.float32), np.zeros(3600, np.uint8))


def segments(cohort: Cohort) -> list[Path]:
    return sorted((cohort.root / ".index").iterdir())


def told(cohort: Cohort) -> list[RecordingInfo]:
    """The index's view of the store, which must agree with the folders."""
    infos = list(cohort.infos())
    assert infos == [cohort.info(name) for name in cohort.recordings()]
    return infos


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return Cohort.create(tmp_path / "cohort.zarr")


def test_infos_come_from_the_index_in_order_of_name(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a", "c10", "c2"):
        add(cohort, name)
    assert [info.recording for info in told(cohort)] == ["a", "b", "c10", "c2"]
    for name in cohort.recordings():
        (cohort.root / name / "zarr.json").write_text("{")  # not opened
    assert [info.device for info in cohort.infos()] == ["test"] * 4


def test_without_index_or_with_a_damaged_one_the_folders_are_read(cohort: Cohort) -> None:
    for name in "abc":
        add(cohort, name)
    path = segments(cohort)[0]
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"hours":1', b'"hours":2'))
    assert len(told(cohort)) == 3
    path.write_bytes(content[:-40])
    assert len(told(cohort)) == 3
    shutil.rmtree(cohort.root / ".index")
    assert len(told(cohort)) == 3
    cohort.index(["a", "b", "c"])
    assert len(segments(cohort)) == 1
    cohort.index(["a", "b", "c"])  # has nothing to add
    assert len(segments(cohort)) == 1
    (cohort.root / "b" / "zarr.json").write_text("{")
    assert len(list(cohort.infos())) == 3  # b is now known from the index alone


def test_rows_of_recordings_that_are_gone_or_made_anew_are_passed_over(cohort: Cohort) -> None:
    add(cohort, "a", device="first")
    add(cohort, "b")
    shutil.rmtree(cohort.root / "a")
    assert [info.recording for info in told(cohort)] == ["b"]
    add(cohort, "a", device="second")
    assert [info.device for info in told(cohort)] == ["second", "test"]
    assert len(segments(cohort)) == 3  # the first row is still there


def test_segments_are_merged_by_level(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_index, "FAN_IN", 3)
    for number in range(20):
        add(cohort, f"r{number:02d}")
        assert len(told(cohort)) == number + 1
    levels = [path.name[0] for path in segments(cohort)]
    assert levels.count("0") < 3
    assert levels.count("1") < 3
    assert "2" in levels
    shutil.rmtree(cohort.root / "r03")
    for number in range(20, 40):
        add(cohort, f"r{number:02d}")
    assert sum(b"r03\t" in path.read_bytes() for path in segments(cohort)) <= 1  # dropped at the next merge
    assert len(told(cohort)) == 39


def test_two_that_merge_the_same_write_the_same(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_index, "FAN_IN", 100)
    for number in range(4):
        add(cohort, f"r{number}")
    level_0 = {path: path.read_bytes() for path in segments(cohort)}
    monkeypatch.setattr(cohort_index, "FAN_IN", 4)
    cohort_index._merge(cohort.root, cohort.root / ".index")
    (merged,) = segments(cohort)
    first = merged.read_bytes()
    for path, content in level_0.items():
        path.write_bytes(content)
    cohort_index._merge(cohort.root, cohort.root / ".index")
    assert segments(cohort) == [merged]
    assert merged.read_bytes() == first


def write_many(root: Path, writer: int) -> None:
    cohort_index.__dict__["FAN_IN"] = 2
    cohort = Cohort.open(root)
    for number in range(15):
        add(cohort, f"w{writer}-{number:02d}")


def read_many(root: Path, least: int) -> None:
    """Read while others write and merge: recordings are never missing and never wrong."""
    cohort = Cohort.open(root)
    count, deadline = 0, time.monotonic() + 100
    while count < least and time.monotonic() < deadline:
        infos = list(cohort.infos())
        assert len(infos) >= count
        assert all(info.participant == f"person-{info.recording}" for info in infos)
        count = len(infos)
    assert count == least


def test_writers_mergers_and_a_reader_at_once(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    context = multiprocessing.get_context("spawn")
    work = [context.Process(target=write_many, args=(cohort.root, writer)) for writer in range(3)]
    work.append(context.Process(target=read_many, args=(cohort.root, 45)))
    for process in work:
        process.start()
    for process in work:
        process.join()
    assert [process.exitcode for process in work] == [0] * 4
    assert len(told(cohort)) == 45
    rows = cohort_index.find(
        cohort.root, {name: (cohort.root / name).stat().st_mtime_ns for name in cohort.recordings()}
    )
    assert len(rows) == 45  # no row was lost in a merge


def create(path: Path) -> None:
    for number in range(20):
        Cohort.create(path / f"{number}.zarr")
        add(Cohort.create(path / f"{number}.zarr"), f"r{os.getpid()}")


def test_many_may_make_the_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    makers = [context.Process(target=create, args=(tmp_path,)) for _ in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert [maker.exitcode for maker in makers] == [0, 0, 0]
    assert all(len(Cohort.open(path).recordings()) == 3 for path in tmp_path.iterdir())


def bytes_with(cohort: Cohort, text: str) -> list[Path]:
    found = [path for path in cohort.root.rglob("*") if text in path.name]
    return found + [path for path in cohort.root.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def note(cohort: Cohort, path: str, recording: str, participant: str) -> None:
    ledger.note(cohort.root, Path(path), [ledger.Unreadable(path, f"{path}: empty", recording, participant)])


def test_remove_leaves_no_byte(cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cohort_index, "FAN_IN", 3)
    for name in ("anna-1", "anna-2", "bert", "carl", "dora"):
        add(cohort, name)
    note(cohort, "visits/anna-1/x.cwa", "x", "x")
    note(cohort, "y.cwa", "y", "person-anna-2")
    note(cohort, "emma.cwa", "emma", "emma")
    note(cohort, "annabel.cwa", "annabel", "annabel")
    killed = cohort.root / ".index" / ".0-anna-1.rows.123.tmp"
    killed.write_text("person-anna-1")
    cohort.remove(["anna-1", "anna-2"], participants=["emma"])
    for text in ("anna-", "emma"):
        assert bytes_with(cohort, text) == []
    assert [info.recording for info in told(cohort)] == ["bert", "carl", "dora"]
    assert [source for source, _ in cohort.unreadable()] == ["annabel.cwa"]
    cohort.remove(["anna-1"])  # a second time: nothing to do
    add(cohort, "anna-1")
    assert len(told(cohort)) == 4


@pytest.mark.parametrize("steps", range(6))
def test_a_removal_that_was_killed_is_finished_by_the_next(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    for name in ("anna-1", "anna-2", "bert"):
        add(cohort, name)
    note(cohort, "anna-3.cwa", "anna-3", "person-anna-1")
    left = steps

    def dying(work):  # type: ignore[no-untyped-def]
        def step(*arguments, **options):  # type: ignore[no-untyped-def]
            nonlocal left
            if left == 0:
                raise KeyboardInterrupt
            left -= 1
            return work(*arguments, **options)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", dying(os.replace))
        patched.setattr(os, "unlink", dying(os.unlink))
        patched.setattr(shutil, "rmtree", dying(shutil.rmtree))
        with pytest.raises(KeyboardInterrupt):
            cohort.remove(["anna-1", "anna-2"])
    # A second call removes the recordings of this person that the first one left behind.
    assert all(info.recording in cohort.recordings() for info in told(cohort))
    cohort.remove([info.recording for info in cohort.infos() if "anna" in info.participant])
    assert bytes_with(cohort, "anna-") == []
    assert cohort.recordings() == ["bert"]


def test_the_ledger_holds_the_latest_attempt(cohort: Cohort) -> None:
    note(cohort, "b.cwa", "b", "b")
    note(cohort, "a.cwa", "a", "a")
    assert cohort.unreadable() == [("a.cwa", "a.cwa: empty"), ("b.cwa", "b.cwa: empty")]
    ledger.note(cohort.root, Path("a.cwa"), [ledger.Unreadable("a.cwa", "a.cwa: short", "a", "a")])
    ledger.note(cohort.root, Path("b.cwa"), [])
    assert cohort.unreadable() == [("a.cwa", "a.cwa: short")]
    ledger.note(cohort.root, Path("b.cwa"), [])


def test_a_row_cannot_lead_out_of_the_store(cohort: Cohort, tmp_path: Path) -> None:
    add(cohort, "a")
    outside = tmp_path / "outside"
    outside.mkdir()
    row = cohort_index.row_of(replace(INFO, recording="../outside"), outside)
    cohort_index.add(cohort.root, [row])
    assert [info.recording for info in told(cohort)] == ["a"]
    with pytest.raises(HarnetError, match="cannot name a recording"):
        cohort.remove(["../outside"])
    assert outside.is_dir()
    assert json.loads(row.facts)["recording"] == "../outside"
