"""`harnet ingest` on all kinds of tables, from the command to the stored result."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_shards.cohort.store import Cohort
from data_shards.layout import COUNTS_PER_G, MISSING
from launch.cli import main

START = 1_700_000_000


def write(path: Path, rate: float, seconds: float, values: NDArray[np.float64] | None = None) -> Path:
    count = round(rate * seconds)
    noise = np.random.default_rng(3).normal(0, 0.05, (count, 3)) + np.array([0, 0, 1.0])
    values = noise if values is None else values
    rows = [f"{START + i / rate:.4f},{x:.4f},{y:.4f},{z:.4f}" for i, (x, y, z) in enumerate(values.tolist())]
    path.write_text("\n".join(["time,x,y,z", *rows]) + "\n")
    return path


def ingest(folder: Path, *more: str) -> tuple[int, Path]:
    out = folder / "cohort.zarr"
    return main(["ingest", str(folder), "--out", str(out), "--quality", "none", *more]), out


def stored(out: Path, recording: str) -> NDArray[np.int16]:
    return Cohort.open(out).open_recording(recording).read_hours(0, 1).accel


@pytest.mark.parametrize("rate", [19.0, 18.96, 19.96, 20.0, 25.0])
def test_slow_devices(rate: float, tmp_path: Path) -> None:
    write(tmp_path / "p.csv", rate, 60)
    code, out = ingest(tmp_path)
    assert code == 0
    assert (stored(out, "p") != MISSING).all(axis=0).sum() == pytest.approx(60 * 30, abs=3)


@pytest.mark.parametrize("number", ["0", "-5", "nan", "inf"])
@pytest.mark.parametrize("option", ["--rate", "--min-seconds"])
def test_impossible_numbers(option: str, number: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p.csv", 50, 20)
    assert ingest(tmp_path, f"{option}={number}")[0] == 1
    assert f"{option} {number}: pass the" in capsys.readouterr().err


def test_too_slow_a_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p.csv", 18, 60)
    assert ingest(tmp_path)[0] == 1
    assert "18 Hz nominal; 19 to 5000 Hz can be used" in capsys.readouterr().out


def test_an_absurd_value_does_not_ring_and_a_filler_is_missing(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(0, 0.05, (6000, 3)) + np.array([0, 0, 1.0])
    values[1000, 0] = 9999
    values[3000:4500] = 0
    write(tmp_path / "p.csv", 100, 60, values)
    code, out = ingest(tmp_path)
    assert code == 0
    accel = stored(out, "p")
    there = (accel != MISSING).all(axis=0)
    assert np.abs(accel[:, there]).max() < 3 * COUNTS_PER_G
    assert there.sum() == pytest.approx(45 * 30, abs=4)
    assert Cohort.open(out).info("p").quality["interruptions"] == 1


def test_short_trials_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        write(tmp_path / f"trial{number}.csv", 50, 8)
    write(tmp_path / "walk.csv", 50, 20)
    assert ingest(tmp_path)[0] == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("refused")]
    assert lines == [
        "refused: 5 files (trial0.csv, trial1.csv, trial2.csv, …) have no gap-free stretch as long as one window "
        "(--min-seconds): --json lists them"
    ]
    assert ingest(tmp_path, "--json")[0] == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["already_there"], len(found["refused"])) == (1, 5)
    assert ingest(tmp_path, "--min-seconds", "5")[0] == 0


def test_an_archive_of_two_recordings_in_a_folder_is_not_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path / "p.csv", 50, 20)
    with zipfile.ZipFile(tmp_path / "visits.zip", "w") as archive:
        archive.write(table, "visit1.csv")
        archive.write(table, "visit2.csv")
    assert ingest(tmp_path)[0] == 1
    assert "visits.zip: a zip archive of 2 device files (visit1.csv, visit2.csv): unpack it" in capsys.readouterr().out


def test_another_rate_or_order_of_dates_is_another_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "p.csv", 50, 20)
    assert ingest(tmp_path)[0] == 0
    assert ingest(tmp_path, "--rate", "50")[0] == 1
    assert ingest(tmp_path, "--day-first")[0] == 1
    assert capsys.readouterr().out.count("ingested with other settings") == 2
