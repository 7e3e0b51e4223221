"""Calibrations of known devices, for recordings too short to be calibrated from their own data."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_shards.cohort.store import Cohort
from data_shards.ingest import known_devices
from data_shards.ingest.known_devices import NOT_TAKEN, TAKEN, KnownDevices
from data_shards.ingest.preparation import Preparation, PreparedRecording
from data_shards.ingest.scratch import Scratch
from data_shards.notes import Note
from data_shards.recording import Loaded, Temperature
from harnet.errors import HarnetError
from launch.cli import main
from tests.data_shards.in_memory import prepare

GAIN, OFFSET = np.array([1.05, 0.96, 1.03]), np.array([0.03, -0.04, 0.02])


def recording(hours: float, seed: int = 0, number: int | None = 12345) -> Loaded:
    """Postures of one minute each, as a device with these errors measures them."""
    random = np.random.default_rng(seed)
    times = 1_700_000_000 + np.arange(int(hours * 3600 * 20)) / 20
    postures = random.normal(size=(int(hours * 60) + 1, 3))
    postures /= np.linalg.norm(postures, axis=1, keepdims=True)
    truth = postures[(np.arange(len(times)) // 1200)] + random.normal(0, 0.002, (len(times), 3))
    return Loaded(
        times=times,
        acceleration=((truth - OFFSET) / GAIN).astype(np.float32),
        nominal_rate=20.0,
        device="Axivity AX3",
        clock="local",
        metadata={} if number is None else {"device_id": number},
    )


@pytest.fixture(scope="module")
def known() -> KnownDevices:
    prepared, _, _ = prepare(recording(25))
    assert prepared.calibration["calibrated"]
    return KnownDevices("file", "0" * 16, {"Axivity AX3 12345": prepared.calibration})


def prepared_with(known: KnownDevices, short: Loaded) -> tuple[PreparedRecording, float]:
    """The prepared recording, and the mean deviation of its norm from 1 g."""
    with Scratch() as scratch:
        found = PreparedRecording(short.stream(), "file", Preparation(known_devices=known), scratch)
        accel = np.concatenate([data.accel for _, data in found.stream()], axis=1)
    there = accel[:, accel[0] != -32768] / 4096
    return found, float(np.abs(np.linalg.norm(there, axis=0) - 1).mean())


def test_a_short_recording_takes_the_calibration_of_its_device(known: KnownDevices) -> None:
    found, error = prepared_with(known, recording(0.5, seed=1))
    assert found.calibration["calibrated"]
    np.testing.assert_allclose(found.calibration["gain"], GAIN, atol=0.003)
    assert found.calibration["error_before_mg"] > 20 > 3 > found.calibration["error_after_mg"] > 0
    assert error < 0.003
    assert [note.kind for note in found.notes] == [TAKEN]


@pytest.mark.parametrize("number", [None, 99])
def test_another_device_takes_none(known: KnownDevices, number: int | None) -> None:
    found, error = prepared_with(known, recording(0.5, seed=1, number=number))
    assert not found.calibration["calibrated"]
    assert error > 0.02
    lacks = "the file states no serial number" if number is None else f"{known.path} does not list Axivity AX3 99"
    assert found.notes == (Note("no calibration given", 1, lacks),)
    assert found.calibration["reason"].endswith(f"; {lacks}")


def test_a_recording_with_a_calibration_of_its_own_keeps_it(known: KnownDevices) -> None:
    wrong = {**known.devices["Axivity AX3 12345"], "gain": [0.9, 0.9, 0.9]}
    found, _ = prepared_with(replace(known, devices={"Axivity AX3 12345": wrong}), recording(25, seed=1))  # type: ignore[dict-item]
    np.testing.assert_allclose(found.calibration["gain"], GAIN, atol=0.003)
    assert found.notes == ()


@pytest.mark.parametrize("off", [-12.0, 0.0])
def test_a_laboratory_has_one_temperature(known: KnownDevices, off: float) -> None:
    """The slope applies there too; it is what the device needs `off` degrees from the mean of its long recording."""
    slope = [0.003, 0.002, -0.003]
    listed = {**known.devices["Axivity AX3 12345"], "slope": slope, "mean_celsius": 32.0}
    short = recording(0.5, seed=1)
    colder = replace(
        short,
        acceleration=(short.acceleration - np.array(slope) * off / GAIN).astype(np.float32),
        temperature=Temperature(short.times[::200], np.full(len(short.times[::200]), 32 + off, np.float32)),
    )
    found, error = prepared_with(replace(known, devices={"Axivity AX3 12345": listed}), colder)  # type: ignore[dict-item]
    assert found.calibration["calibrated"], found.calibration["reason"]
    assert found.calibration["error_before_mg"] > 20 > 3 > found.calibration["error_after_mg"]
    assert error < 0.003


def test_a_device_that_needs_no_calibration_takes_it_too(known: KnownDevices) -> None:
    listed = {**known.devices["Axivity AX3 12345"], "gain": [1.0, 1.0, 1.0], "offset": [0.0004, -0.0004, 0.0004]}
    short = recording(0.5, seed=1)
    right = replace(short, acceleration=(short.acceleration * GAIN + OFFSET).astype(np.float32))
    found, _ = prepared_with(replace(known, devices={"Axivity AX3 12345": listed}), right)  # type: ignore[dict-item]
    assert found.calibration["error_before_mg"] < found.calibration["error_after_mg"] < 1
    assert found.calibration["calibrated"], found.calibration["reason"]


def test_one_that_makes_it_worse_is_not_taken(known: KnownDevices) -> None:
    wrong = {**known.devices["Axivity AX3 12345"], "gain": [0.8, 0.8, 0.8]}
    found, _ = prepared_with(replace(known, devices={"Axivity AX3 12345": wrong}), recording(0.5))  # type: ignore[dict-item]
    assert not found.calibration["calibrated"]
    assert "0.5 h recorded; 24 h are needed; with the calibration given" in found.calibration["reason"]
    (note,) = found.notes
    assert note.kind == NOT_TAKEN
    assert note.detail.startswith("with the calibration given, ")


def test_from_a_store_to_a_file_to_a_laboratory(tmp_path: Path, known: KnownDevices, capsys) -> None:
    path = tmp_path / "calibration.json"
    known_devices.write(path, known.devices)
    read = known_devices.read(path)
    assert read.devices == known.devices
    assert read.of("Axivity AX3", {"device_id": 12345}) is not None
    assert len(read.digest) == 16
    (tmp_path / "x.csv").write_text("\n".join(["time,x,y,z", *(f"{1.7e9 + i / 50:.2f},0,0,1" for i in range(1000))]))
    out = tmp_path / "c.zarr"
    assert main(["ingest", str(tmp_path / "x.csv"), "--out", str(out), "--calibration", str(path)]) == 0
    settings = json.loads((out / "x" / "zarr.json").read_text())["attributes"]["source"]["settings"]
    assert settings["calibration"] == read.digest
    capsys.readouterr()
    assert main(["calibration", str(out), "--out", str(tmp_path / "none.json")]) == 1
    assert "no calibrated recording whose device has a serial number" in capsys.readouterr().err
    assert not (tmp_path / "none.json").exists()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"harnet_calibration": 2}', '{"harnet_calibration": 1, "devices": {"a": {}}}', "gain"],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(HarnetError, match=r"x\.json: .*`harnet calibration`"):
        known_devices.read(tmp_path / "x.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("gain", [9, 1, 1]), ("offset", [0, 0, float("nan")]), ("slope", [0, 0]), ("slope", [0, 0.1, 0])),
        *(("mean_celsius", float("nan")), ("still_windows", float("inf")), ("error_before_mg", 10**400)),
    ],
)
def test_coefficients_that_cannot_be_are_refused(tmp_path: Path, known: KnownDevices, key: str, value: object) -> None:
    known_devices.write(tmp_path / "x.json", {"d": {**known.devices["Axivity AX3 12345"], key: value}})  # type: ignore[dict-item]
    with pytest.raises(HarnetError, match="damaged"):
        known_devices.read(tmp_path / "x.json")


def test_of_each_device_its_best_calibration_is_collected(cohort: Cohort, known: KnownDevices) -> None:
    info = cohort.info(cohort.recordings()[0])
    good = known.devices["Axivity AX3 12345"]
    worse = {**good, "error_after_mg": good["error_after_mg"] + 1}
    with_number = replace(info, device="Axivity AX3", metadata={"device_id": 12345})
    infos = [
        replace(with_number, calibration=worse),
        replace(with_number, calibration=good),
        replace(with_number, calibration={**good, "error_after_mg": 0.1}, notes=(Note(TAKEN),)),  # of another device
        replace(with_number, metadata={"device_id": 7}),  # not calibrated
        replace(info, calibration=good),  # not a number
    ]
    assert known_devices.collect(infos) == {"Axivity AX3 12345": good}
