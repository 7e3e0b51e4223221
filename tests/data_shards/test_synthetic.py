import dataclasses
import filecmp
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.signal import welch

from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.layout import RATE
from data_shards.quality.policy import POLICIES, first_violated_rule
from data_shards.synthetic.diary import DAY, Activity, bouts, diary
from data_shards.synthetic.make import synthesise, write_labels
from data_shards.synthetic.motion import course, measure
from data_shards.synthetic.people import person
from data_shards.synthetic.record import NOTE, record
from data_shards.synthetic.synth_options import SynthOptions
from harnet.errors import HarnetError


def seconds_of(counts: np.ndarray) -> np.ndarray:
    return counts.reshape(3, -1, RATE).astype(np.float32) / 4096


@pytest.fixture(scope="module")
def recorded() -> tuple[np.ndarray, np.ndarray, dict]:
    """Diary, signal per second in g, and facts of four days of one person."""
    info, data = record(person(0, 5), SynthOptions(4), 5)
    return diary(person(0, 5), 0, 5, 4), seconds_of(data.accel), dataclasses.asdict(info)


def diaries_of_steady_wearers() -> np.ndarray:
    """(people, seconds of a week): thirty people who wear the device at night and to the end."""
    people = [(number, person(3, number)) for number in range(30)]
    steady = [each for each in people if not each[1].takes_off_at_night and np.isinf(each[1].stops_wearing)]
    assert len(steady) > 20
    return np.stack([diary(someone, 3, number, 7) for number, someone in steady])


def test_days_are_spent_as_people_spend_them() -> None:
    diaries = diaries_of_steady_wearers()
    hours = np.bincount(diaries.ravel(), minlength=len(Activity)) / diaries.size * 24
    share = dict(zip(Activity, hours, strict=True))
    assert share[Activity.SLEEP] == pytest.approx(7.5, abs=0.5)
    assert share[Activity.SITTING] == pytest.approx(10.5, abs=1.5)
    assert 0.8 < share[Activity.WALKING] < 2.5
    assert 0.1 < share[Activity.NOT_WORN] < 2
    assert sum(hours) == pytest.approx(24)


def test_people_differ_and_nights_are_at_night() -> None:
    diaries = diaries_of_steady_wearers()
    sleeping = (diaries == Activity.SLEEP).reshape(-1, 24, 3600).mean(axis=(0, 2))
    assert sleeping[2:5].min() > 0.8
    assert sleeping[12:20].max() < 0.1
    assert len({each.tobytes() for each in diaries}) == len(diaries)


def test_bouts_give_the_diary_back() -> None:
    doing = diary(person(1, 2), 1, 2, 2)
    starts, lengths, activities = bouts(doing)
    np.testing.assert_array_equal(np.repeat(activities, lengths), doing)
    np.testing.assert_array_equal(np.cumsum(lengths)[:-1], starts[1:])
    assert (activities[1:] != activities[:-1]).all()


def test_gravity_is_one_g_at_rest_and_an_unworn_device_is_still(recorded: tuple) -> None:
    doing, signal, info = recorded
    norm = np.linalg.norm(signal.mean(axis=2), axis=0)
    assert info["calibration"]["calibrated"]
    assert info["calibration"]["error_before_mg"] > 4
    assert np.abs(norm[doing == Activity.SLEEP] - 1).mean() < 0.005
    table = signal[:, doing == Activity.NOT_WORN].std(axis=2)
    assert np.median(table) < 0.004
    assert np.median(table) > 0.0008  # sensor noise


def test_effort_orders_the_activities(recorded: tuple) -> None:
    doing, signal, info = recorded
    motion = np.sqrt(signal.var(axis=2).sum(axis=0))
    means = [motion[doing == each].mean() for each in (Activity.SLEEP, Activity.SITTING, Activity.HOUSEHOLD)]
    assert means[0] < 0.01 < means[1] < 0.1 < means[2]
    assert 10 < info["quality"]["mean_enmo_mg"] < 60


def test_walking_has_its_peak_near_two_hertz_and_the_spectrum_falls_off(recorded: tuple) -> None:
    doing, signal, _ = recorded
    starts, lengths, activities = bouts(doing)
    longest = np.argmax(np.where(activities == Activity.WALKING, lengths, 0))
    walk = signal[:, starts[longest] : starts[longest] + lengths[longest]].reshape(3, -1)
    frequency, power = welch(walk, RATE, nperseg=300, axis=1)
    power = power.sum(axis=0)
    band = (frequency > 0.5) & (frequency < 5)
    assert 1.4 < frequency[band][np.argmax(power[band])] < 2.4
    sitting = signal[:, np.flatnonzero(doing == Activity.SITTING)[: 2 * 3600]].reshape(3, -1)
    frequency, power = welch(sitting, RATE, nperseg=300, axis=1)
    levels = [power[:, (frequency >= low) & (frequency < high)].mean() for low, high in ((0.5, 1), (2, 3), (5, 8))]
    assert levels[0] > 3 * levels[1] > 9 * levels[2]


def test_wear_is_found_by_the_rule_of_ingest(recorded: tuple) -> None:
    doing, _, info = recorded
    worn = sum(info["worn_seconds_by_hour"]) / 3600
    truth = (doing != Activity.NOT_WORN).sum() / 3600
    assert truth - 4 < worn < truth + 7  # showers are too short for the rule, and still nights are sometimes too long
    assert sum(info["quality"]["worn_seconds_by_clock_hour"]) == sum(info["worn_seconds_by_hour"])


def test_it_says_that_it_is_synthetic(recorded: tuple) -> None:
    _, _, info = recorded
    assert info["device"] == "synthetic"
    assert [note["kind"] for note in info["notes"]] == ["synthetic"]
    assert "synthetic" in NOTE
    assert "synthetic" in info["preprocessing"]["filter"]
    assert info["metadata"] == {"synthetic_seed": 0, "synthetic_person": 5}


def test_most_people_pass_and_habits_decide_who_does_not(recorded: tuple) -> None:
    policy = POLICIES["uk-biobank"]
    assert first_violated_rule(RecordingInfo(**recorded[2]), policy) is None
    someone = person(0, 1)
    for changes, rule in (
        ({"stops_wearing": 1.5}, "wear time"),
        ({"stride": someone.stride * 9, "liveliness": 2.0}, "implausible"),
    ):
        info, _ = record(dataclasses.replace(someone, **changes), SynthOptions(4), 1)
        broken = first_violated_rule(info, policy)
        assert broken is not None
        assert broken.name == rule


def test_strokes_beyond_the_range_are_clipped_and_counted() -> None:
    someone = person(0, 4)
    info, data = record(dataclasses.replace(someone, stride=someone.stride * 40), SynthOptions(1), 4)
    assert 0.001 < info.quality["clipped_share"] < 0.5
    assert data.accel.max() <= 32767
    assert data.accel.min() >= -32767


def test_a_person_is_the_same_however_many_are_made(tmp_path: Path) -> None:
    options = SynthOptions(days=1, seed=7)
    small = synthesise(tmp_path / "small.zarr", 2, options)
    large = synthesise(tmp_path / "large.zarr", 3, options, workers=2)
    for name in small.recordings():
        assert small.info(name) == large.info(name)
        ours, theirs = (store.read_hours(name, 0, 24) for store in (small, large))
        for part in ("accel", "motion", "wear"):
            np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))
    assert len(large.recordings()) == 3


def test_hours_are_cut_from_the_morning_of_the_same_person(tmp_path: Path) -> None:
    store = synthesise(tmp_path / "c.zarr", 2, SynthOptions(hours=2))
    for info in store.infos():
        assert (info.hours, info.first_hour % 24) == (2, 10)
        assert store.read_hours(info.recording, 0, 2).motion.max() > 0
    write_labels(tmp_path / "l.parquet", 2, SynthOptions(hours=2))
    rows = pq.read_table(tmp_path / "l.parquet").to_pandas()
    assert (rows.groupby("recording")["seconds"].sum() == 2 * 3600).all()
    assert rows["start"].min() // 3600 == min(info.first_hour for info in store.infos())
    with pytest.raises(HarnetError, match="was made with --seed 0 --hours 2"):
        synthesise(store.root, 2, SynthOptions(hours=1))


def test_a_second_run_adds_what_is_missing_and_leaves_the_rest(tmp_path: Path) -> None:
    options = SynthOptions(days=1)
    store = synthesise(tmp_path / "c.zarr", 1, options)
    file = next((store.root / store.recordings()[0]).rglob("zarr.json"))
    before = file.stat().st_mtime_ns
    assert len(synthesise(store.root, 2, options).recordings()) == 2
    assert file.stat().st_mtime_ns == before
    assert len(synthesise(store.root, 1, options).recordings()) == 2


def test_another_cohort_in_the_same_store_is_refused(tmp_path: Path, cohort: Cohort) -> None:
    store = synthesise(tmp_path / "c.zarr", 1, SynthOptions(days=1))
    for options in (SynthOptions(days=2), SynthOptions(days=1, seed=1)):
        with pytest.raises(HarnetError, match="was made with --seed 0 --days 1"):
            synthesise(store.root, 1, options)
    with pytest.raises(HarnetError, match="not synthetic"):
        synthesise(cohort.root, 1, SynthOptions(days=1))
    with pytest.raises(HarnetError, match="--people 0"):
        synthesise(tmp_path / "x", 0, SynthOptions())
    for wrong in ({"days": 0}, {"days": 101}, {"seed": -1}, {"hours": 15}, {"hours": -1}):
        with pytest.raises(HarnetError, match="--"):
            SynthOptions(**wrong)


def test_labels_hold_every_second_once(tmp_path: Path) -> None:
    path = tmp_path / "labels.parquet"
    write_labels(path, 3, SynthOptions(days=2))
    table = pq.read_table(path)
    assert NOTE.encode() in table.schema.metadata.values()
    rows = table.to_pandas()
    assert (rows.groupby("recording")["seconds"].sum() == 2 * DAY).all()
    for _, own in rows.groupby("recording"):
        np.testing.assert_array_equal((own["start"] + own["seconds"]).to_numpy()[:-1], own["start"].to_numpy()[1:])
    assert set(rows["activity"]) <= {each.name.lower() for each in Activity}
    again = tmp_path / "again.parquet"
    write_labels(again, 3, SynthOptions(days=2))
    assert filecmp.cmp(path, again, shallow=False)


def test_labels_belong_to_the_signal() -> None:
    someone = person(0, 9)
    doing = diary(someone, 0, 9, 1)
    walking = np.flatnonzero(doing == Activity.WALKING)
    motion = np.sqrt(seconds_of(measure(someone, 0, 9, course(someone, 0, 9, doing))).var(axis=2).sum(axis=0))
    assert np.median(motion[walking]) > 10 * np.median(motion[doing == Activity.SLEEP])
