"""`harnet predict recording` alone: a device file to classes, minutes, notes and a picture."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'harnet[apply]'")

from data_shards.cohort.store import Cohort
from harnet.apply.minutes_summary import minutes_lines
from harnet.apply.week_plot import minutes_by_day
from harnet.evaluation.activity import CLASSES
from launch.apply_command import ApplyOptions
from launch.cli import main

START = 1_600_000_000 // 3600 * 3600


def recording(path: Path, seconds: int, still: tuple[int, int] = (0, 0)) -> Path:
    """A table at 25 Hz: steps at 1.8 Hz, and seconds without any movement."""
    random, time = np.random.default_rng(0), np.arange(25 * seconds) / 25
    move = (time < still[0]) | (time >= still[1])
    sway = move * (0.2 * np.sin(2 * np.pi * 1.8 * time) + random.normal(0, 0.03, len(time)))
    rows = (f"{START + t:.2f},{x:.4f},{0.3 + x:.4f},{0.9 + x:.4f}" for t, x in zip(time, sway, strict=True))
    path.write_text("\n".join(["time,x,y,z", *rows]) + "\n")
    return path


def test_a_recording_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recording(tmp_path / "watch.csv", 605)
    assert main(["predict", str(file)]) == 0
    out = tmp_path / "watch-predicted"
    said = capsys.readouterr().out
    assert str(out) in said
    assert "sitting or standing" in said
    assert "worn for less than a day" in said
    table = pq.read_table(out / "windows" / "watch.parquet")
    assert table.column_names == ["time", "seconds", "class", *(f"p_{name}" for name in CLASSES)]
    assert table.num_rows == 60
    probabilities = np.stack([table[f"p_{name}"].to_numpy() for name in CLASSES], axis=1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    with (out / "person_days.csv").open(newline="") as days:
        (day,) = csv.DictReader(days)
    assert sum(float(day[f"minutes_{name}"]) for name in CLASSES) == pytest.approx(10)
    assert (out / "pictures" / "watch.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["predict", str(file)]) == 0, "again: nothing is missing"


def test_no_class_where_nothing_was_worn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    still = (1800, 7200)
    file = recording(tmp_path / "table.csv", 9000, still)
    assert main(["predict", str(file), "--out", str(tmp_path / "out")]) == 0
    seconds = pq.read_table(tmp_path / "out" / "windows" / "table.parquet")["seconds"].to_numpy() - START
    assert len(seconds)
    assert not ((seconds + 10 > still[0] + 10) & (seconds < still[1] - 10)).any()
    worn = Cohort.open(tmp_path / "out" / "cohort.zarr").info("table").worn_seconds
    assert len(seconds) * 10 <= worn < 9000 - 5000
    capsys.readouterr()
    never = recording(tmp_path / "never.csv", 4000, (0, 4000))
    assert main(["predict", str(never)]) == 0
    said = capsys.readouterr().out
    assert "no wear detected" in said
    assert "no window is classified" in said
    assert not list((tmp_path / "never-predicted" / "pictures").iterdir())


def test_a_rate_far_from_training_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = recording(tmp_path / "fast.csv", 300)
    rows = file.read_text().splitlines()
    header, samples = rows[0], [row.split(",", 1) for row in rows[1:]]
    file.write_text("\n".join([header, *(f"{START + n / 200:.4f},{rest}" for n, (_, rest) in enumerate(samples * 4))]))
    assert main(["predict", str(file)]) == 0
    assert "sampling rate outside" in capsys.readouterr().out


def test_a_device_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], shared: Callable[[str], Path]) -> None:
    file = shared("data/devices/ax6_paradigma.cwa")
    assert main(["predict", str(file), "--out", str(tmp_path / "out")]) == 0
    # It lasts from 2.3 to 366.6 s past the hour; windows begin at multiples of ten seconds.
    assert pq.read_table(tmp_path / "out" / "windows" / f"{file.stem}.parquet").num_rows == 35
    assert "pictures: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (["a/rec.cwa"], "a/rec-predicted"),
        (["a/rec.csv.gz"], "a/rec-predicted"),
        (["a/cohort.zarr"], "a/cohort-predicted"),
        (["recordings"], "recordings-predicted"),
        (["a.cwa", "b.cwa"], "predicted"),
    ],
)
def test_where_results_go_by_default(
    inputs: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch.commands.predict import Command

    monkeypatch.chdir(tmp_path)
    options: ApplyOptions = Command(tuple(map(Path, inputs)))
    assert options.folder.resolve() == tmp_path / expected
    assert Command((Path("x"),), out=Path("y")).folder == Path("y")


def test_minutes_of_a_picture_are_those_of_the_table() -> None:
    time = START + np.array([0, 10, 20, 30, 40, 50, 60, 86400])
    days, minutes = minutes_by_day(time, np.array([1, 1, 1, 1, 0, 0, 0, 2]), 10)
    assert len(days) == 2
    first = START // 60 % 1440
    assert minutes[0, first : first + 3].tolist() == [1, 0, -1]
    assert minutes[1, first] == 2
    assert (minutes >= 0).sum() == 3
    _, sparse = minutes_by_day(np.array([START]), np.array([0]), 60)
    assert (sparse >= 0).sum() == 1


def test_without_matplotlib_all_else_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*_: object) -> None:
        raise ModuleNotFoundError("no", name="matplotlib")

    monkeypatch.setattr("launch.commands.predict.draw", missing)
    assert main(["predict", str(recording(tmp_path / "watch.csv", 100))]) == 0
    assert "no pictures: pip install matplotlib" in capsys.readouterr().out


def test_several_people_are_told_as_a_mean(tmp_path: Path) -> None:
    (tmp_path / "person_days.csv").write_text(
        "participant,date,wear_minutes,weight,minutes_a\np,2024-01-01,1440,1,10\nq,2024-01-01,1440,1,30\n"
    )
    (tmp_path / "people.csv").write_text("participant,minutes_a\np,10\nq,30\nr,\n")
    lines = minutes_lines(tmp_path, ["a"])
    assert lines[-1].split() == ["2", "people", "1440", "20"]
    assert not any("p " in line.split("people")[0] for line in lines[1:]), "nobody is named"
