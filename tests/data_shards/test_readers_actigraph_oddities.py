"""Repeated and misplaced records, decimal commas, repacked archives: how the .gt3x reader handles them."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import load
from data_shards.readers.actigraph_log import PACKED, PLAIN
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.test_readers_actigraph import INFO, START, archive, counts, packed, plain, record

DAY = 86_400


@pytest.fixture
def log() -> list[bytes]:
    return [plain(second) for second in range(120)]


def recorded(path: Path, log: list[bytes], info: dict[str, str] | None = None) -> Loaded:
    return next(load(archive(path, b"".join(log), info))).recording


def same(one: Loaded, other: Loaded) -> None:
    np.testing.assert_array_equal(one.times, other.times)
    np.testing.assert_array_equal(one.acceleration, other.acceleration)
    assert (one.nominal_rate, one.range_g, one.metadata) == (other.nominal_rate, other.range_g, other.metadata)


@pytest.mark.parametrize("how", ["each", "log after log", "a part"])
def test_records_that_are_there_twice_are_read_once(tmp_path: Path, log: list[bytes], how: str) -> None:
    again, count = {
        "each": ([each for one in log for each in (one, one)], 120),
        "log after log": (log + log, 120),
        "a part": (log[:100] + log[90:], 10),
    }[how]
    recording = recorded(tmp_path / "twice.gt3x", again)
    assert recording.notes == (Note("repeated blocks", count, f"records, of {120 + count}"),)
    same(recording, recorded(tmp_path / "plain.gt3x", log))


@pytest.mark.parametrize("kind", [PACKED, PLAIN])
@pytest.mark.parametrize("days", [-3000, 100])
@pytest.mark.parametrize("at", [0, 1, 60, 118, 119])
def test_a_second_of_another_time_is_left_out(
    tmp_path: Path, log: list[bytes], at: int, days: float, kind: int
) -> None:
    payload = packed(counts(at)) if kind == PACKED else counts(at).astype("<i2").tobytes()
    log[at] = record(kind, START + at + int(days * DAY), payload)
    recording = recorded(tmp_path / "stray.gt3x", log)
    (note,) = recording.notes
    assert (note.kind, note.count) == ("isolated stamps", 1)
    assert f"number {at + 1}, stamped" in note.detail
    assert np.unique(np.floor(recording.times - START)).tolist() == [other for other in range(120) if other != at]


def test_more_than_a_hundredth_is_refused(tmp_path: Path, log: list[bytes]) -> None:
    for at in (50, 70, 90):
        log[at] = record(PLAIN, START + at + 100 * DAY, counts(at).astype("<i2").tobytes())
    with pytest.raises(HarnetError, match=r"x\.gt3x: isolated stamps: 3 of 120, records; the first is number 51, stam"):
        recorded(tmp_path / "x.gt3x", log)


def test_idle_sleep_of_days_is_a_gap(tmp_path: Path) -> None:
    log = [plain(second) for second in (*range(60), *range(3 * DAY, 3 * DAY + 60))]
    recording = recorded(tmp_path / "ism.gt3x", log)
    assert recording.notes == ()
    assert len(recording.times) == 120 * 30


@pytest.mark.parametrize("key", ["Acceleration Scale", "Acceleration Max", "Sample Rate"])
def test_decimal_commas(tmp_path: Path, log: list[bytes], key: str) -> None:
    value = f"{float(INFO[key]):.1f}".replace(".", ",")
    recording = recorded(tmp_path / "comma.gt3x", log, INFO | {key: value, "Battery Voltage": "4,12"})
    assert recording.notes == ()
    same(recording, recorded(tmp_path / "plain.gt3x", log))


@pytest.mark.parametrize(
    "names",
    [
        ("P001/log.bin", "P001/info.txt"),
        ("P001/", "P001/visit 2/log.bin", "P001/visit 2/info.txt", "__MACOSX/P001/visit 2/._info.txt"),
        ("LOG.BIN", "Info.txt"),
        ("P001\\info.txt", "P001\\log.bin"),
        ("lux.bin", "log.bin", "info.txt"),
    ],
)
def test_an_archive_that_was_packed_again(tmp_path: Path, log: list[bytes], names: tuple[str, ...]) -> None:
    plain_one = recorded(tmp_path / "plain.gt3x", log)
    contents = {"log.bin": b"".join(log), "info.txt": "\r\n".join(f"{key}: {value}" for key, value in INFO.items())}
    path = tmp_path / "again.gt3x"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in names:
            file.writestr(name, contents.get(name.replace("\\", "/").rpartition("/")[2].lower(), b"other"))
    same(next(load(path)).recording, plain_one)


def test_two_recordings_in_one_archive_are_refused(tmp_path: Path, log: list[bytes]) -> None:
    path = tmp_path / "two.gt3x"
    with zipfile.ZipFile(path, "w") as file:
        for folder in ("P001", "P002"):
            file.writestr(f"{folder}/log.bin", b"".join(log))
            file.writestr(f"{folder}/info.txt", "")
    with pytest.raises(HarnetError, match=r"two\.gt3x: a zip archive with 2 recordings: unpack it"):
        list(load(path))


def test_a_byte_order_mark_in_info(tmp_path: Path, log: list[bytes]) -> None:
    info = {"\ufeffSerial Number": INFO["Serial Number"], **{k: v for k, v in INFO.items() if k != "Serial Number"}}
    assert recorded(tmp_path / "bom.gt3x", log, info).metadata["device_id"] == "TAS1H00000001"
    assert recorded(tmp_path / "bom.gt3x", log, info).metadata["time_zone"] == "01:00:00"


def test_a_record_of_more_samples_than_a_second_has_is_damaged(tmp_path: Path, log: list[bytes]) -> None:
    log[7] = plain(7, samples=60)
    recording = recorded(tmp_path / "x.gt3x", log)
    assert recording.notes == (Note("damaged blocks", 1, "places in the log"),)
    assert len(recording.times) == 119 * 30


@pytest.mark.parametrize("rate", ["100", "46", "19"])
def test_a_log_of_another_rate_than_info_is_refused(tmp_path: Path, log: list[bytes], rate: str) -> None:
    message = rf"x\.gt3x: info\.txt gives {rate} Hz as 'Sample Rate', but 120 of 120 seconds in the log hold 30 samples"
    with pytest.raises(HarnetError, match=message):
        recorded(tmp_path / "x.gt3x", log, INFO | {"Sample Rate": rate})


def test_the_first_value_of_a_key_in_info_counts(tmp_path: Path, log: list[bytes]) -> None:
    recording = recorded(tmp_path / "x.gt3x", log, INFO | {"Subject Name": "A\nSample Rate: 40"})
    assert recording.nominal_rate == 30


@pytest.mark.parametrize("count", [1, 3, 60])
def test_damaged_records_are_counted_one_by_one(tmp_path: Path, log: list[bytes], count: int) -> None:
    log[:count] = [each[:20] + bytes([each[20] ^ 0x41]) + each[21:] for each in log[:count]]
    recording = recorded(tmp_path / "x.gt3x", log)
    assert recording.notes == (Note("damaged blocks", count, "places in the log"),)
    assert len(recording.times) == (120 - count) * 30


@pytest.mark.parametrize("left", [2, 100])
def test_a_log_that_ends_within_a_record(tmp_path: Path, log: list[bytes], left: int) -> None:
    recording = recorded(tmp_path / "x.gt3x", [*log[:-1], log[-1][:left]])
    assert recording.notes == (Note("cut end", 1, "within a record of the log"),)
    assert len(recording.times) == 119 * 30


def test_records_need_no_start_in_info(tmp_path: Path, log: list[bytes]) -> None:
    info = {key: value for key, value in INFO.items() if key != "Start Date"} | {"Acceleration Max": ""}
    same(recorded(tmp_path / "x.gt3x", log, info), recorded(tmp_path / "plain.gt3x", log))


@pytest.mark.parametrize("other", ["notes/info.txt", "a large file of another kind"])
def test_what_else_is_in_the_archive(tmp_path: Path, log: list[bytes], other: str) -> None:
    path = tmp_path / "more.gt3x"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(other, np.random.default_rng(0).bytes(10_000))
        file.writestr("log.bin", b"".join(log))
        file.writestr("info.txt", "\n".join(f"{key}: {value}" for key, value in INFO.items()))
    same(next(load(path)).recording, recorded(tmp_path / "plain.gt3x", log))


def test_absurd_values_of_every_second_are_counted_of_all(tmp_path: Path, log: list[bytes]) -> None:
    for second in range(120):
        values = counts(second).astype("<i2")
        values[3, 1] = 20_000
        log[second] = record(PLAIN, START + second, values.tobytes())
    with pytest.raises(HarnetError, match=r"absurd values: 120 of 3,600, first 78\.12 g"):
        recorded(tmp_path / "x.gt3x", log)


def test_a_quarter_of_zeros_is_a_gap(tmp_path: Path, log: list[bytes]) -> None:
    whole = recorded(tmp_path / "plain.gt3x", log)
    for second in range(40, 70):
        log[second] = record(PLAIN, START + second, bytes(180))
    recording = recorded(tmp_path / "x.gt3x", log)
    (note,) = recording.notes
    assert (note.kind, note.count) == ("repeated fillers", 900)
    np.testing.assert_array_equal(recording.times, np.delete(whole.times, slice(40 * 30, 70 * 30)))
    with pytest.raises(HarnetError, match="all 3,600 samples repeat a value that no sensor measures"):
        recorded(tmp_path / "zeros.gt3x", [record(PLAIN, START + second, bytes(180)) for second in range(120)])


@pytest.mark.parametrize("at", [0, 119])
def test_a_single_second_hours_from_all_others_is_left_out(tmp_path: Path, log: list[bytes], at: int) -> None:
    for hours, count in ((2, 1), (0.5, 0)):
        away = START + at + int(hours * 3600) * (1 if at else -1)
        log[at] = record(PLAIN, away, counts(at).astype("<i2").tobytes())
        recording = recorded(tmp_path / "x.gt3x", log)
        assert [(note.kind, note.count) for note in recording.notes] == [("isolated stamps", 1)] * count
        assert len(recording.times) == (120 - count) * 30


def test_a_clock_that_stood_still_is_refused(tmp_path: Path, log: list[bytes]) -> None:
    log[60:] = [record(PLAIN, START + 60, counts(at).astype("<i2").tobytes()) for at in range(60, 120)]
    with pytest.raises(HarnetError, match=r"x\.gt3x: the clock stood still .*: 60 of 120 records, from number 61 on"):
        recorded(tmp_path / "x.gt3x", log)


def test_two_records_of_one_second_are_told_where(tmp_path: Path, log: list[bytes]) -> None:
    twice = [each for at in range(120) for each in (log[at], plain(at, samples=15))]
    with pytest.raises(HarnetError, match=r"backward times: .* of 5,400, the first at 2024-03-01 11:00:00; up to"):
        recorded(tmp_path / "x.gt3x", twice)
