"""Recordings of any length: the size of the pieces in memory does not affect the stored result."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards import readers
from data_shards.cohort import stored
from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.cohort.stored import ArrayWriter, HourData
from data_shards.ingest import gathering, scratch
from data_shards.ingest.checks import LONGEST_DAYS
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.preparation import Preparation, PreparedRecording
from data_shards.ingest.run import ingest_file
from data_shards.ingest.scratch import Scratch
from data_shards.ingest.wear import WearDetector, detect
from data_shards.layout import MISSING, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.readers import DeviceReader, Found, ReadOptions
from data_shards.recording import Loaded, SampleChunk
from harnet.errors import HarnetError
from tests.data_shards.in_memory import check, prepare

START = 1_700_000_400.0


def recording(hours: float, rate: float = 20.0, pauses: tuple[tuple[float, float], ...] = ()) -> Loaded:
    """Noise around gravity, with pauses given as (after this many hours, for this many hours)."""
    times = START + np.arange(int(hours * 3600 * rate)) / rate
    for after, pause in pauses:
        times[times > START + after * 3600] += pause * 3600
    signal = np.random.default_rng(0).normal(0, 0.05, (len(times), 3)) + np.array([0, 0, 1])
    return Loaded(times=times, acceleration=signal.astype(np.float32), nominal_rate=rate, device="t", clock="utc")


@pytest.mark.parametrize(("beginning", "in_memory"), [(1, 1 << 28), (1, 1000), (2, 0)])
def test_a_beginning_and_a_scratch_file_of_any_size_give_the_same(
    beginning: int, in_memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = recording(2.2, pauses=((0.7, 0.02), (1.1, 1.5)))
    whole, accel, wear = prepare(there)
    monkeypatch.setattr(gathering, "PIECE_SAMPLES", 10_000)
    monkeypatch.setattr(gathering, "BEGINNING_PIECES", beginning)
    monkeypatch.setattr(scratch, "IN_MEMORY", in_memory)
    pieces, accel_again, wear_again = prepare(there)
    np.testing.assert_array_equal(accel_again, accel)
    np.testing.assert_array_equal(wear_again, wear)
    assert pieces.quality() == whole.quality()
    assert pieces.complete_seconds == whole.complete_seconds
    assert pieces.worn_seconds_by_hour == whole.worn_seconds_by_hour


def test_a_pause_of_a_year_takes_no_room() -> None:
    with Scratch() as held:
        prepared = PreparedRecording(recording(2, pauses=((1, 365 * 24),)).stream(), "file", Preparation(), held)
        hours = [hour for hour, _ in prepared.stream()]
    assert hours == [0, 1, prepared.hours - 2, prepared.hours - 1]
    assert prepared.hours == 365 * 24 + 3
    assert [hour for hour, worn in enumerate(prepared.worn_seconds_by_hour) if worn] == hours
    assert prepared.quality()["interruptions"] == 1
    far = recording(1, pauses=((0.5, (LONGEST_DAYS + 9) * 24.0),))
    with pytest.raises(HarnetError, match=f"file: spans {LONGEST_DAYS + 9} days, more than {LONGEST_DAYS}; was the"):
        check(far, "file", 10)


@pytest.mark.parametrize("hours", [5, 60, 4 * 72, 1000])
def test_hours_come_back_as_they_were_added(tmp_path: Path, cohort: Cohort, hours: int, monkeypatch) -> None:
    monkeypatch.setattr(stored, "LONGEST_SHARD_HOURS", 72)
    name = cohort.recordings()[0]
    info = RecordingInfo(**{**vars(cohort.info(name)), "hours": hours, "worn_seconds_by_hour": (0,) * hours})
    there = sorted({0, 3, 4, hours // 2, hours - 1} & set(range(hours)))
    random = np.random.default_rng(0)

    def data() -> Iterator[tuple[int, HourData]]:
        for hour in there:
            accel = np.full((3, SAMPLES_PER_HOUR), hour, np.int16)
            yield (
                hour,
                HourData(accel, random.random(SECONDS_PER_HOUR, np.float32), np.ones(SECONDS_PER_HOUR, np.uint8)),
            )

    made = Cohort.create(tmp_path / "c.zarr")
    made.write_hours(hours, data(), lambda: info)
    opened = made.open_recording(name)
    for hour in range(0, hours, 7 if hours > 100 else 1):
        accel = opened.read_hours(hour, hour + 1).accel
        assert (accel == (hour if hour in there else MISSING)).all()
    assert np.flatnonzero(opened.read_wear().reshape(hours, -1).all(axis=1)).tolist() == there
    files = [path for path in opened.folder.rglob("*") if path.is_file() and path.name != "zarr.json"]
    assert len(files) <= (6 if hours <= 4 * 72 else 3 * len({hour // 72 for hour in there}))
    with pytest.raises(AssertionError):
        ArrayWriter(tmp_path / "x", 2).add(2, opened.read_hours(0, 1))


@given(
    still=st.lists(st.tuples(st.integers(0, 6 * 360 - 1), st.integers(300, 1000)), max_size=4),
    absent=st.sets(st.integers(0, 5), max_size=3),
)
@settings(deadline=None, max_examples=25)
def test_wear_by_the_hour_is_wear_of_the_whole(still: list[tuple[int, int]], absent: set[int]) -> None:
    counts = np.random.default_rng(0).normal(0, 400, (3, 6 * SAMPLES_PER_HOUR)).astype(np.int16)
    for begin, windows in still:
        counts[:, begin * 300 : (begin + windows) * 300] = 7
    for hour in absent:
        counts[:, hour * SAMPLES_PER_HOUR : (hour + 1) * SAMPLES_PER_HOUR] = MISSING
    expected = by_definition(counts)
    np.testing.assert_array_equal(detect(counts).wear, expected)
    detector = WearDetector()
    found = np.zeros(6 * SECONDS_PER_HOUR, np.uint8)
    known = []
    for hour in sorted(set(range(6)) - absent):
        known.append(detector.add(hour, counts[:, hour * SAMPLES_PER_HOUR : (hour + 1) * SAMPLES_PER_HOUR]))
    for each in (*known, detector.finish()):
        if each is not None:
            found[each[0] * SECONDS_PER_HOUR : (each[0] + 1) * SECONDS_PER_HOUR] = each[1].wear
    np.testing.assert_array_equal(found, expected)


def by_definition(counts: np.ndarray) -> np.ndarray:
    """Worn, except for windows with a standard deviation below 13 mg that together last an hour or more."""
    there = (counts != MISSING).all(axis=0).reshape(-1, 300).all(axis=1)
    deviations = counts.reshape(3, -1, 300).std(axis=2)
    still = (deviations < 0.013 * 4096).all(axis=0) & there
    wear = there.copy()
    begin = None
    for index in range(len(still) + 1):
        if index < len(still) and still[index]:
            begin = index if begin is None else begin
        elif begin is not None:
            if index - begin >= 360:
                wear[begin:index] = False
            begin = None
    return np.repeat(wear, 10).astype(np.uint8)


class Failing(DeviceReader):
    """A reader that fails after ten minutes of samples."""

    kind = "failing"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        return head.startswith(b"fail")

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        there = recording(0.2)
        trouble = {b"fail": ZeroDivisionError("x"), b"fail2": OSError(5, "Input/output error")}[path.read_bytes()]

        def pieces() -> Iterator[SampleChunk]:
            yield from there.stream().pieces
            raise trouble

        yield Found(replace(there.stream(), pieces=pieces()), path.stem)


def test_a_reader_that_fails_midway_refuses_its_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "READERS", (Failing(), *readers.READERS))
    cohort = Cohort.create(tmp_path / "c.zarr")
    reasons = {}
    for content in ("fail", "fail2"):
        path = tmp_path / f"{content}.x"
        path.write_text(content)
        (outcome,) = ingest_file(path, cohort, IngestOptions())
        assert outcome.status == "refused"
        reasons[content] = outcome.reason.removeprefix(f"{path}: ")
    assert reasons == {
        "fail": "the reader failed (ZeroDivisionError: x): please report this",
        "fail2": "cannot be read (Input/output error)",
    }
    assert len(cohort.unreadable()) == 2
    assert not list((tmp_path / "c.zarr").glob(".scratch*"))


def test_a_full_disk_stops_everything_and_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "IN_MEMORY", 1000)
    values = np.zeros((3, 10_000), np.float32)
    with Scratch(tmp_path) as held:
        held.write(0, values)  # now in a file instead of in memory
        with open("/dev/full", "wb", buffering=0) as full, monkeypatch.context() as patched:
            patched.setattr(held._file, "_file", full)
            with pytest.raises(OSError, match="No space left") as raised:
                held.write(10_000, values)
    assert raised.value.filename == str(tmp_path)
