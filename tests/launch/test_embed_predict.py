"""From recordings to features, classes and summaries: equal to a plain loop, and resumed where it stopped."""

import csv
import json
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import zarr

import harnet
from data_shards.cohort.store import Cohort
from data_shards.cohort.windows import worn_windows
from data_shards.layout import COUNTS_PER_G, RATE, SECONDS_PER_HOUR
from harnet.heads import ClassifierModel, PretextModel
from harnet.weights.bundle import BundleConfig, save
from launch.cli import main

CLASSES = ("sit", "walk")
FEW = ("--step", "60")
"""One window per minute: enough for these tests on seven hours of recordings."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = PretextModel("harnet5", standardise=True, width=8)
    config = BundleConfig("harnet5", 5, "standardised window", width=8)
    return str(save(tmp_path_factory.mktemp("weights") / "bundle", model.state_dict(), config))


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ClassifierModel("harnet5", 2, width=8)
    config = BundleConfig("harnet5", 5, "none", width=8, classes=CLASSES)
    return str(save(tmp_path_factory.mktemp("weights") / "model", model.state_dict(), config))


def table_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def all_windows(cohort: Cohort, recording: str, seconds: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The same as `worn_windows`, computed from the whole recording at once, one window at a time."""
    info = cohort.info(recording)
    data = cohort.read_hours(recording, 0, info.hours)
    base, starts, windows = info.first_hour * SECONDS_PER_HOUR, [], []
    for place in range(len(data.wear) - seconds + 1):
        if (base + place) % step == 0 and data.wear[place : place + seconds].all():
            starts.append(base + place)
            windows.append(data.accel[:, place * RATE : (place + seconds) * RATE] / np.float32(COUNTS_PER_G))
    return np.array(starts, np.int64), np.array(windows, np.float32).reshape(-1, 3, seconds * RATE)


@pytest.mark.parametrize(("seconds", "step"), [(10, 10), (10, 7), (30, 45), (5, 2)])
@pytest.mark.parametrize("hours", [1, 3])
def test_windows_do_not_depend_on_the_hours_read_at_once(
    cohort: Cohort, seconds: int, step: int, hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_shards.cohort.windows.HOURS_AT_ONCE", hours)
    stored = cohort.open_recording("p0-0")
    pieces = list(worn_windows(stored, seconds, step))
    starts, windows = all_windows(cohort, "p0-0", seconds, step)
    np.testing.assert_array_equal(np.concatenate([piece[0] for piece in pieces]), starts)
    np.testing.assert_array_equal(np.concatenate([piece[1] for piece in pieces]), windows)
    assert len(starts) > 100


def test_features_are_those_of_a_plain_loop(cohort: Cohort, weights: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["embed", str(cohort.root), "--weights", weights, "--out", str(out), "--batch", "50", *FEW]) == 0
    encoder = harnet.load_encoder(weights)
    people = {row["participant"]: row for row in pq.read_table(out / "people.parquet").to_pylist()}
    assert "p2" not in people, "twenty seconds hold no window of this grid"
    days = pq.read_table(out / "person_days.parquet").to_pylist()
    for recording in ("p0-0", "p7-7"):
        starts, windows = all_windows(cohort, recording, 5, 60)
        with torch.inference_mode():
            expected = encoder(torch.from_numpy(windows)).flatten(1).numpy()
        group = zarr.open_group(out / "features.zarr", mode="r")[recording]
        np.testing.assert_array_equal(group["seconds"][:], starts)
        np.testing.assert_allclose(group["features"][:], expected, rtol=1e-4, atol=1e-5)
        row = people[recording.split("-")[0]]
        assert row["features"] is None, "an hour or two of a day do not stand for a day"
        assert row["wear_minutes"] == pytest.approx(len(starts))
        np.testing.assert_allclose(row["wear_weighted_features"], expected.mean(axis=0), rtol=1e-3, atol=1e-4)
        mine = [day for day in days if day["participant"] == row["participant"]]
        assert sum(day["wear_minutes"] for day in mine) == pytest.approx(row["wear_minutes"])


def test_features_of_several_stages(cohort: Cohort, weights: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["embed", str(cohort.root), "--weights", weights, "--out", str(out), *FEW]
    assert main([*arguments, "--stages", "4", "2"]) == 0
    _, windows = all_windows(cohort, "p0-0", 5, 60)
    with torch.inference_mode():
        expected = harnet.load_encoder(weights).features(torch.from_numpy(windows), stages=(2, 4)).numpy()
    found = zarr.open_group(out / "features.zarr", mode="r")["p0-0"]["features"]
    np.testing.assert_allclose(found[:], expected, rtol=1e-4, atol=1e-5)
    row = pq.read_table(out / "people.parquet").to_pylist()[0]
    assert len(row["wear_weighted_features"]) == expected.shape[1]
    assert main(arguments) == 1, "the folder is that of other stages"
    assert main([*arguments[:-4], "--out", str(tmp_path / "no"), *FEW, "--stages", "6"]) == 1


def test_a_second_run_does_only_what_is_missing(
    cohort: Cohort, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    command = ["embed", str(cohort.root), "--weights", weights, "--out", str(out), "--json", *FEW]
    assert main([*command, "--workers", "2"]) == 0
    whole = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (out / "summaries" / "p7-7.npz").unlink()
    (out / "features.zarr" / ".p7-7.tmp").mkdir()
    before = {path.name: path.stat().st_mtime_ns for path in (out / "summaries").iterdir()}
    assert main(command) == 0
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == whole
    assert not list((out / "features.zarr").glob(".*"))
    after = {path.name: path.stat().st_mtime_ns for path in (out / "summaries").iterdir()}
    assert {name for name in after if after[name] != before.get(name)} == {"p7-7.npz"}
    capsys.readouterr()
    assert main([*command[:-2], "--step", "120"]) == 1
    assert "other settings (step differ)" in capsys.readouterr().err


def test_neither_batches_nor_parts_change_a_feature(cohort: Cohort, weights: str, tmp_path: Path) -> None:
    """Batches of 50 are filled from several recordings. Other batch sizes may use other kernels."""

    def embedded(name: str, *runs: list[str]) -> dict[Path, bytes]:
        out = tmp_path / name
        for options in runs:
            command = ["embed", str(cohort.root), "--weights", weights, "--out", str(out), *FEW, *options]
            assert main(command) == 0
        return {path.relative_to(out): path.read_bytes() for path in out.rglob("*") if path.is_file()}

    whole = embedded("whole", ["--batch", "50"])
    embedded("small", ["--batch", "7"])
    stores = [zarr.open_group(tmp_path / name / "features.zarr", mode="r") for name in ("whole", "small")]
    for recording in stores[0]:
        found, expected = (store[recording]["features"][:] for store in stores)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    parts = [["--batch", "50", "--part", f"{part}/3"] for part in (2, 3, 1)]
    assert not {Path("people.parquet"), Path("person_days.parquet")} & set(embedded("parts", *parts))
    assert embedded("parts", []) == whole


def test_bf16_is_near_and_not_mixed_with_float32(
    cohort: Cohort, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for precision in ("fp32", "bf16"):
        options = ["--weights", weights, "--out", str(tmp_path / precision), "--precision", precision, *FEW]
        assert main(["embed", str(cohort.root), *options]) == 0
    full, half = (
        np.concatenate([group["features"][:] for _, group in sorted(zarr.open_group(tmp_path / name).members())])
        for name in ("fp32/features.zarr", "bf16/features.zarr")
    )
    assert 0 < np.linalg.norm(half - full) / np.linalg.norm(full) < 0.02
    options = ["--weights", weights, "--out", str(tmp_path / "bf16"), *FEW]
    assert main(["embed", str(cohort.root), *options]) == 1
    assert "other settings (precision differ)" in capsys.readouterr().err


def test_a_damaged_recording_is_named_and_stops_no_other(
    cohort: Cohort, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(cohort.root, tmp_path / "cohort.zarr")
    (copy / "p3-3" / "zarr.json").write_text("{}")
    out = tmp_path / "out"
    assert main(["embed", str(copy), "--weights", weights, "--out", str(out), "--json", *FEW]) == 1
    done = json.loads(capsys.readouterr().out)
    assert len(done["refused"]) == 1
    assert "p3-3" in done["refused"][0]
    assert "p4-4" in zarr.open_group(out / "features.zarr", mode="r")
    assert not list((out / "features.zarr").glob("*p3-3*"))


def test_parts_of_device_files_are_refused(weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["embed", str(tmp_path), "--weights", weights, "--out", str(tmp_path / "out"), "--part", "1/2"]
    assert main(command) == 1
    assert "create one with harnet ingest first" in capsys.readouterr().err


def test_means_alone_can_be_kept(cohort: Cohort, weights: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["embed", str(cohort.root), "--weights", weights, "--out", str(out), "--store", "none", *FEW]) == 0
    assert not (out / "features.zarr").exists()
    assert pq.read_table(out / "people.parquet").num_rows >= 8


def test_classes_with_times_and_minutes(cohort: Cohort, classifier: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["predict", str(cohort.root), "--weights", classifier, "--out", str(out), *FEW]) == 0
    starts, windows = all_windows(cohort, "p0-0", 5, 60)
    model = ClassifierModel("harnet5", 2, width=8)
    bundle = harnet.weights.load.read_bundle(classifier)  # type: ignore[attr-defined]
    model.load_state_dict(bundle.state)
    with torch.inference_mode():
        expected = model.eval()(torch.from_numpy(windows)).softmax(dim=1).numpy()
    table = pq.read_table(out / "windows" / "p0-0.parquet").to_pandas()
    assert list(table.columns) == ["time", "seconds", "class", "p_sit", "p_walk"]
    np.testing.assert_array_equal(table["seconds"], starts)
    np.testing.assert_allclose(table[["p_sit", "p_walk"]], expected, atol=1e-5)
    said = table["class"].astype(str).to_numpy()
    np.testing.assert_array_equal(said, np.array(CLASSES)[expected.argmax(axis=1)])
    assert str(table["time"][0]) == str(np.datetime64(int(starts[0]), "s")).replace("T", " ")
    rows = table_of(out / "person_days.csv")
    mine = [row for row in rows if row["participant"] == "p0"]
    for name in CLASSES:
        minutes = sum(float(row[f"minutes_{name}"]) for row in mine)
        assert minutes == pytest.approx((said == name).sum(), abs=0.02)
    person = next(row for row in table_of(out / "people.csv") if row["participant"] == "p0")
    assert person["minutes_sit"] == ""
    whole = sum(float(person[f"wear_weighted_minutes_{name}"]) for name in CLASSES)
    assert whole == pytest.approx(1440, abs=0.02)


def test_smoothing_leaves_fewer_changes(cohort: Cohort, classifier: str, tmp_path: Path) -> None:
    changes = {}
    for smooth in ([], ["--smooth", "600"]):
        out = tmp_path / f"out{len(smooth)}"
        assert main(["predict", str(cohort.root), "--weights", classifier, "--out", str(out), *smooth, *FEW]) == 0
        said = pq.read_table(out / "windows" / "p0-0.parquet")["class"].to_pylist()
        changes[len(smooth)] = sum(a != b for a, b in pairwise(said))
    assert changes[2] <= changes[0]


def test_device_files_are_read_and_a_bad_one_stops_no_other(
    classifier: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = 1_600_000_000 + np.arange(3000) / 50
    rows = "\n".join(f"{t:.3f},0.1,{0.2 * np.sin(2 * np.pi * t):.4f},0.97" for t in time)
    (tmp_path / "alice.csv").write_text("time,x,y,z\n" + rows + "\n")
    (tmp_path / "bob.csv").write_text("time,x,y,z\n1,2\n")
    files = [str(tmp_path / name) for name in ("alice.csv", "bob.csv")]
    command = ["predict", *files, "--weights", classifier, "--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 1
    done = json.loads(capsys.readouterr().out)
    assert (done["people"], done["person_days"], len(done["refused"])) == (1, 1, 1)
    assert "bob.csv" in done["refused"][0]
    assert pq.read_table(tmp_path / "out" / "windows" / "alice.parquet").num_rows == 12


@pytest.mark.parametrize(("change", "said"), [({"filter": "nearest"}, "trained with 'nearest'"), ({"rate": "30"}, "")])
def test_another_preprocessing_is_refused(
    cohort: Cohort, change: dict[str, str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = BundleConfig("harnet5", 5, "none", width=8, preprocessing=change)
    folder = save(tmp_path / "weights", PretextModel("harnet5", width=8).state_dict(), config)
    command = [
        "embed",
        str(cohort.root),
        "--weights",
        str(folder),
        "--out",
        str(tmp_path / "out"),
        "--store",
        "none",
        *FEW,
    ]
    assert main(command) == int(bool(said))
    assert said in capsys.readouterr().err


def test_people_who_withdrew_are_left_out(cohort: Cohort, weights: str, tmp_path: Path) -> None:
    (tmp_path / "withdrawn.txt").write_text("p0\n")
    out = tmp_path / "out"
    options = [*FEW, "--store", "none", "--exclude", str(tmp_path / "withdrawn.txt")]
    assert main(["embed", str(cohort.root), "--weights", weights, "--out", str(out), *options]) == 0
    assert "p0" not in pq.read_table(out / "people.parquet")["participant"].to_pylist()
    assert not (out / "summaries" / "p0-0.npz").exists()


def test_an_encoder_without_a_classifier_cannot_predict(
    cohort: Cohort, weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(cohort.root), "--weights", weights, "--out", str(tmp_path / "out")]) == 1
    assert "encoder without a classifier" in capsys.readouterr().err
