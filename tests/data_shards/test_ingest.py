"""`harnet ingest` from files to store, and its refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data_shards.cohort.store import Cohort
from data_shards.ingest.run import IngestOptions, ingest
from data_shards.layout import COUNTS_PER_G, MISSING
from data_shards.readers import ReadOptions
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from launch.cli import main
from tests.data_shards.in_memory import check

START = 1_700_000_400.0
STRESS = Path(__file__).parents[3] / "shared" / "data" / "stress_predict"


def loaded(acceleration: np.ndarray, times: np.ndarray, rate: float = 50.0) -> Loaded:
    signal = acceleration.astype(np.float32)
    return Loaded(times=times, acceleration=signal, nominal_rate=rate, device="test", clock="utc")


def signal_of(seconds: float, rate: float = 50.0, seed: int = 0) -> Loaded:
    times = START + np.arange(int(seconds * rate)) / rate
    draws = np.random.default_rng(seed).normal(0, 0.05, (len(times), 3))
    return loaded((draws + np.array([0, 0, 1])).astype(np.float32), times, rate)


def table(path: Path, seconds: float = 20, rate: float = 50, seed: int = 0, per_g: float = 1.0) -> Path:
    recording = signal_of(seconds, rate, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = np.column_stack([recording.times, recording.acceleration * per_g])
    np.savetxt(path, rows, fmt="%.4f", delimiter=",", header="time,x,y,z", comments="")
    return path


def run(*arguments: object) -> int:
    return main(["ingest", *map(str, arguments)])


def test_files_and_folders_become_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "in" / "a" / "p1.csv", seed=1)
    table(tmp_path / "in" / "p2.csv", seed=2)
    (tmp_path / "in" / "readme.txt").write_text("not a recording")
    out = tmp_path / "cohort.zarr"
    assert run(tmp_path / "in", "--out", out, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["recordings"], report["ingested"], report["refused"], len(report["skipped_files"])) == (2, 2, [], 1)
    cohort = Cohort.open(out)
    assert cohort.recordings() == ["p1", "p2"]
    info = cohort.info("p1")
    assert (info.participant, info.hours, info.first_hour) == ("p1", 1, int(START // 3600))
    assert info.complete_seconds == info.worn_seconds == 20
    data = cohort.read_hours("p1", 0, 1)
    there = data.accel[0] != MISSING
    assert int(there.sum()) == 20 * 30
    assert int(np.flatnonzero(there)[0]) == int((START - info.first_hour * 3600) * 30)
    assert data.accel[2, there].mean() / COUNTS_PER_G == pytest.approx(1, abs=0.01)


def test_again_skips_and_other_bytes_or_settings_are_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "p1.csv", seed=1)
    out = tmp_path / "cohort.zarr"
    options = IngestOptions()
    (first,), _ = ingest([path], out, options)
    assert first.status == "ingested"
    (again,), _ = ingest([path], out, options)
    assert (again.status, again.complete_seconds) == ("already there", first.complete_seconds)
    (other,), _ = ingest([path], out, IngestOptions(read=ReadOptions(units="mg")))
    assert other.status == "refused"
    assert "with other settings" in other.reason
    table(path, seed=2)
    (changed,), _ = ingest([path], out, options)
    assert changed.status == "refused"
    assert "its name is taken by another recording, from p1.csv" in changed.reason


def test_two_files_of_one_name_are_both_refused_and_a_pattern_tells_them_apart(tmp_path: Path) -> None:
    paths = [table(tmp_path / visit / "wrist.csv", seed=number) for number, visit in enumerate(("P01", "P02"))]
    outcomes, _ = ingest(paths, tmp_path / "c.zarr", IngestOptions())
    assert [outcome.status for outcome in outcomes] == ["refused", "refused"]
    assert all(str(paths[0]) in outcome.reason and str(paths[1]) in outcome.reason for outcome in outcomes)
    options = IngestOptions(participant_pattern=r"(P\d+)/wrist")
    outcomes, _ = ingest([*paths, *paths], tmp_path / "c.zarr", options)
    assert [outcome.recording for outcome in outcomes] == ["P01_wrist", "P02_wrist"]
    assert Cohort.open(tmp_path / "c.zarr").info("P02_wrist").participant == "P02"


def test_two_files_of_one_name_and_person_are_never_told_apart_by_a_pattern(tmp_path: Path) -> None:
    paths = [table(tmp_path / "P01" / visit / "wrist.csv", seed=number) for number, visit in enumerate("ab")]
    options = IngestOptions(participant_pattern=r"(P\d+)/")
    outcomes, _ = ingest(paths, tmp_path / "c.zarr", options)
    assert outcomes[0].reason == f"{paths[0]}: would get the same name as {paths[1]}: rename one"
    later = [ingest([path], tmp_path / "c.zarr", options)[0][0] for path in paths]
    assert later[0].status == "ingested"
    assert "its name is taken by another recording" in later[1].reason
    assert later[1].reason.endswith("): rename one")


@pytest.mark.parametrize("pattern", ["(", "P", "(P)(Q)"])
def test_a_pattern_that_cannot_work_is_told(pattern: str) -> None:
    with pytest.raises(HarnetError, match="--participant-pattern"):
        IngestOptions(participant_pattern=pattern)


def test_a_name_from_a_file_cannot_lead_out_of_the_store(tmp_path: Path) -> None:
    path = table(tmp_path / "..sneaky name.csv")
    (outcome,), _ = ingest([path], tmp_path / "c.zarr", IngestOptions())
    assert outcome.recording == "_sneaky_name"


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_files_are_listed_and_stop_nobody(tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]) -> None:
    good = [table(tmp_path / f"good{number}.csv", seed=number) for number in range(2)]
    slow = table(tmp_path / "slow.csv", rate=15)
    short = table(tmp_path / "short.csv", seconds=5)
    metres = table(tmp_path / "metres.csv", per_g=9.81)
    (empty := tmp_path / "empty.csv").touch()
    absent = tmp_path / "absent.csv"
    out = tmp_path / "cohort.zarr"
    assert run(slow, good[0], short, metres, empty, absent, good[1], "--out", out, "--workers", workers) == 1
    text = capsys.readouterr().out
    assert Cohort.open(out).recordings() == ["good0", "good1"]
    for message in (
        "Hz nominal; 19 to 5000 Hz can be used",
        "short.csv: its longest gap-free stretch is 5.0 s, less than one window of 10 s",
        "metres.csv: the norm is 9.8",
        "give --units m/s2",
        "empty.csv: empty file",
        "absent.csv: cannot be read (No such file or directory)",
        "7 recordings in, 2 ingested, 0 already there, 5 refused, 0 excluded",
    ):
        assert message in text


def test_nothing_to_ingest_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    assert run(tmp_path / "in", "--out", tmp_path / "c.zarr") == 1
    assert "no device file found" in capsys.readouterr().err
    assert not (tmp_path / "c.zarr").exists()


@pytest.mark.parametrize(("per_g", "units"), [(9.80665, "m/s2"), (1000.0, "mg")])
def test_units_are_converted_once(tmp_path: Path, per_g: float, units: str) -> None:
    path = table(tmp_path / "p.csv", per_g=per_g)
    assert run(path, "--out", tmp_path / "c.zarr") == 1
    assert run(path, "--out", tmp_path / "c.zarr", "--units", units) == 0
    accel = Cohort.open(tmp_path / "c.zarr").read_hours("p", 0, 1).accel[2]
    assert accel[accel != MISSING].mean() / COUNTS_PER_G == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("scale", "message"),
    [(9.81, "give --units m/s2"), (1000, "give --units mg"), (0.02, "gravity was removed"), (64, "the norm is 64")],
)
def test_units_that_cannot_be_g(scale: float, message: str) -> None:
    recording = signal_of(60)
    scaled = loaded(recording.acceleration * np.float32(scale), recording.times, 50.0)
    with pytest.raises(HarnetError, match=message):
        check(scaled, "file", 10)


@pytest.mark.parametrize("gain", [0.85, 1.0, 1.15])
def test_uncalibrated_devices_and_short_running_pass(gain: float) -> None:
    recording = signal_of(12)
    stride = 1.5 * np.sin(2 * np.pi * 2.8 * recording.times)[:, None] * np.array([1, 0.5, 1], np.float32)
    check(
        loaded((gain * (recording.acceleration + stride)).astype(np.float32), recording.times, 50.0),
        "f",
        10,
    )
    check(loaded((gain * recording.acceleration).astype(np.float32), recording.times, 50.0), "f", 10)


def test_a_clock_that_was_reset_and_values_that_are_no_numbers() -> None:
    recording = signal_of(60)
    times = recording.times.copy()
    times[1500:] += 800 * 86400
    with pytest.raises(HarnetError, match="spans 800 days"):
        check(loaded(recording.acceleration, times, 50.0), "f", 10)
    values = recording.acceleration.copy()
    values[77, 1] = np.nan
    with pytest.raises(HarnetError, match="sample 77 is"):
        check(loaded(values, recording.times, 50.0), "f", 10)
    with pytest.raises(HarnetError, match="10 Hz by its times"):
        check(loaded(recording.acceleration, START + np.arange(3000) / 10, 50.0), "f", 10)


@pytest.mark.parametrize("workers", [1, 2])
def test_interrupted_it_stops_and_the_same_command_continues(tmp_path: Path, workers: int) -> None:
    for number in range(16):
        table(tmp_path / "in" / f"p{number:02d}.csv", seconds=100, seed=number)
    out = tmp_path / "cohort.zarr"
    command = [
        sys.executable,
        "-m",
        "launch",
        "ingest",
        str(tmp_path / "in"),
        "--out",
        str(out),
        "--workers",
        str(workers),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ((out / "zarr.json").exists() and Cohort.open(out).recordings()) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    finished = Cohort.open(out).recordings()
    assert 0 < len(finished) < 16
    assert [path for path in out.rglob(".*") if path.name != ".index"] == []
    outcomes, _ = ingest([tmp_path / "in"], out, IngestOptions())
    assert sum(outcome.status == "already there" for outcome in outcomes) == len(finished)
    assert len(Cohort.open(out).recordings()) == 16


def test_again_it_does_not_read_what_it_knows(tmp_path: Path) -> None:
    path = table(tmp_path / "p1.csv", seed=1)
    out = tmp_path / "cohort.zarr"
    ingest([path], out, IngestOptions())
    before = path.stat()
    content = path.read_bytes()
    # Same size, time and first bytes, which identify its kind: only a reader that goes further sees other content.
    path.write_bytes(content[:5000] + content[5000:][::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [outcome.status for outcome in ingest([path], out, IngestOptions())[0]] == ["already there"]
    (other,), _ = ingest([path], out, IngestOptions(timezone="Europe/London"))
    assert "with other settings" in other.reason
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    (changed,), _ = ingest([path], out, IngestOptions())
    assert "its name is taken by another recording" in changed.reason
    path.write_bytes(content)  # the same content with another time stamp is recognised by its hash
    assert [outcome.status for outcome in ingest([path], out, IngestOptions())[0]] == ["already there"]


def test_what_could_not_be_ingested_is_kept_until_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = table(tmp_path / "good.csv", seed=1)
    short = table(tmp_path / "short.csv", seconds=5)
    (empty := tmp_path / "empty.csv").touch()
    out = tmp_path / "cohort.zarr"
    for _ in range(2):
        assert run(good, short, empty, tmp_path / "absent.csv", "--out", out, "--json") == 1
        report = json.loads(capsys.readouterr().out)
        assert (report["flow"]["unreadable"], report["flow"]["recordings"]) == (2, 1)
    assert run(good, "--out", out, "--json") == 0  # counted over several runs
    assert json.loads(capsys.readouterr().out)["flow"]["unreadable"] == 2
    unreadable = Cohort.open(out).unreadable()
    assert [source for source, _ in unreadable] == [str(empty), str(short)]
    assert "its longest gap-free stretch is 5.0 s" in unreadable[1][1]
    run(good, "--out", out, "--units", "mg")  # a stored recording is not counted as unreadable
    table(short, seconds=20)
    assert run(short, "--out", out, "--quality", "none") == 0
    assert [source for source, _ in Cohort.open(out).unreadable()] == [str(empty)]
    text = capsys.readouterr().out
    assert "        3  files and recordings in\n       -1  could not be read\n" in text
    assert "        2  recordings out: 2 people, 2 person-days, 0.0 h worn" in text


def test_people_who_withdrew_are_not_ingested(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(3):
        table(tmp_path / "in" / f"P{number}" / "wrist.csv", seed=number)
    table(tmp_path / "in" / "P2" / "hip.csv", seconds=2)
    (ids := tmp_path / "ids.txt").write_text("# withdrew\nP2\nP7\n")
    options = ("--participant-pattern", r"(P\d)/", "--exclude", ids)
    out = tmp_path / "cohort.zarr"
    assert run(tmp_path / "in", "--out", out, *options) == 0
    text = capsys.readouterr()
    assert "4 recordings in, 2 ingested, 0 already there, 0 refused, 2 excluded" in text.out
    assert "P2" not in text.out + text.err
    cohort = Cohort.open(out)
    assert cohort.recordings() == ["P0_wrist", "P1_wrist"]
    assert not any(b"P2" in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_parts_of_an_array_share_the_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        table(tmp_path / "in" / f"p{number}.csv", seconds=12, seed=number)
    table(tmp_path / "in" / "p1.csv", seconds=2)
    out = tmp_path / "cohort.zarr"
    command = [sys.executable, "-m", "launch", "ingest", str(tmp_path / "in"), "--out", str(out), "--part"]
    elements = [subprocess.Popen([*command, f"{number}/3"], stdout=subprocess.PIPE) for number in (1, 2, 3)]
    outputs = [element.communicate(timeout=120)[0].decode() for element in elements]
    assert [element.returncode for element in elements] == [0, 1, 0]
    assert ["1 refused" in output for output in outputs] == [False, True, False]
    cohort = Cohort.open(out)
    assert cohort.recordings() == ["p0", "p2", "p3", "p4"]
    assert len(cohort.unreadable()) == 1
    assert run(tmp_path / "in", "--out", out, "--part", "7/9") == 0  # more parts than files
    assert "0 recordings in" in capsys.readouterr().out
    for part in ("0/3", "4/3", "1", "a/b", "1/0", "-1/3"):
        assert run(tmp_path / "in", "--out", out, f"--part={part}") == 1
        assert "--part" in capsys.readouterr().err


def test_hours_of_the_day_follow_the_wall(tmp_path: Path) -> None:
    recording = signal_of(60)
    change = 1_679_792_400.0  # 2023-03-26 01:00 UTC, when London's clocks went to 02:00
    rows = np.column_stack([recording.times - START + change - 30, recording.acceleration])
    path = tmp_path / "p.csv"
    np.savetxt(path, rows, fmt="%.4f", delimiter=",", header="time,x,y,z", comments="")
    by_clock_hour = {}
    for place in (None, "Europe/London"):
        ((outcome,), _) = ingest([path], tmp_path / f"{place is None}.zarr", IngestOptions(timezone=place))
        info = Cohort.open(tmp_path / f"{place is None}.zarr").info("p")
        by_hour = info.quality["worn_seconds_by_clock_hour"]
        by_clock_hour[place] = {hour: seconds for hour, seconds in enumerate(by_hour) if seconds}
    assert by_clock_hour == {None: {0: 30, 1: 30}, "Europe/London": {0: 30, 2: 30}}
    assert info.wall_shifts[-1] == {"from_second": int(change), "add_seconds": 3600}
    assert "went forward 60 min at 2023-03-26 01:00" in outcome.notes[-1].detail
    assert info.source["settings"]["timezone"] == "Europe/London"
    with pytest.raises(HarnetError, match="no such time zone"):
        IngestOptions(timezone="London")


DEVICES = STRESS.parent / "devices"


@pytest.mark.skipif(not DEVICES.is_dir(), reason="no ../shared/data/devices beside the repository")
def test_real_short_recordings_are_stored_uncalibrated_with_the_reason(tmp_path: Path) -> None:
    files = [DEVICES / "ax3_testfile.cwa", DEVICES / "ax3_testfile_corrupt_blocks_0_13_14_142_143_144.cwa"]
    outcomes, _ = ingest(files, tmp_path / "c.zarr", IngestOptions())
    assert [outcome.status for outcome in outcomes] == ["ingested"] * 2
    whole, damaged = Cohort.open(tmp_path / "c.zarr").infos()
    assert whole.calibration["reason"] == "0.049 h recorded; 24 h are needed"
    assert not whole.calibration["calibrated"]
    assert whole.quality["interruptions"] == 0
    assert whole.quality["clipped_share"] == pytest.approx(4 / 17_400)
    assert damaged.quality["interruptions"] > 0  # the dropped blocks within it
    assert damaged.quality["interrupted_seconds"] > 2
    assert sum(whole.quality["worn_seconds_by_clock_hour"]) == whole.worn_seconds


@pytest.mark.skipif(not STRESS.is_dir(), reason="no ../shared/data/stress_predict beside the repository")
def test_a_real_empatica_recording(tmp_path: Path) -> None:
    (outcome,), _ = ingest([STRESS / "S01"], tmp_path / "c.zarr", IngestOptions())
    assert outcome.recording == "S01"
    cohort = Cohort.open(tmp_path / "c.zarr")
    info = cohort.info("S01")
    assert (info.clock, info.nominal_rate, info.first_hour) == ("utc", 32.0, 1644226061 // 3600)
    accel = cohort.read_hours("S01", 0, info.hours).accel.astype(float)
    norm = np.sqrt((accel[:, accel[0] != MISSING] ** 2).sum(axis=0)) / COUNTS_PER_G
    assert np.median(norm) == pytest.approx(1, abs=0.05)
