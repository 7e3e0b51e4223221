"""The .gt3x reader, on archives written here from ActiGraph's documents."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_shards.readers import actigraph, actigraph_log, load
from data_shards.readers.actigraph import TICKS_PER_SECOND, TICKS_TO_1970
from data_shards.readers.actigraph_log import PACKED, PLAIN, unpack
from harnet.errors import HarnetError

START = 1_709_290_800
INFO = {
    "Serial Number": "TAS1H00000001",
    "Device Type": "Link",
    "Firmware": "1.7.2",
    "Sample Rate": "30",
    "Start Date": str(START * TICKS_PER_SECOND + TICKS_TO_1970),
    "TimeZone": "01:00:00",
    "Acceleration Scale": "256.0",
    "Acceleration Max": "8.0",
    "Subject Name": "A Name",
}


def counts(seed: int, samples: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(-2048, 2048, (samples, 3))


def packed(values: np.ndarray) -> bytes:
    """12 bits each, y x z, most significant bit first; an odd nibble at the end is zero."""
    digits = "".join(f"{number & 0xFFF:03x}" for number in values[:, [1, 0, 2]].ravel().tolist())
    return bytes.fromhex(digits + "0" * (len(digits) % 2))


def record(kind: int, time: int, payload: bytes) -> bytes:
    head = struct.pack("<BBIH", 0x1E, kind, time, len(payload)) + payload
    return head + bytes([int(np.bitwise_xor.reduce(np.frombuffer(head, np.uint8))) ^ 0xFF])


def plain(second: int, samples: int = 30) -> bytes:
    return record(PLAIN, START + second, counts(second, samples).astype("<i2").tobytes())


def archive(path: Path, log: bytes, info: dict[str, str] | None = None, name: str = "log.bin") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, log)
        file.writestr("info.txt", "\n".join(f"{key}: {value}" for key, value in (info or INFO).items()))
    return path


def test_seconds_gaps_and_other_records(tmp_path: Path) -> None:
    log = [
        record(6, START, b'{"SubjectName":"A Name"}'),
        *(plain(second) for second in (0, 1, 2)),
        record(3, START + 3, b"\x08"),  # goes to sleep
        record(3, START + 60, b"\x09"),
        *(plain(second) for second in (60, 61)),
        record(PLAIN, START + 62, b"\x00"),  # plugged in
        bytes(5),  # may occur between records
        record(PACKED, START + 63, packed(counts(63))),
    ]
    (found,) = load(archive(tmp_path / "visit.gt3x", b"".join(log)))
    recording = found.recording
    seconds = [0, 1, 2, 60, 61, 63]
    expected = np.concatenate([counts(second) for second in seconds]) / 256
    np.testing.assert_array_equal(recording.acceleration, expected.astype(np.float32))
    times = (START + np.array(seconds, float)[:, None] + np.arange(30) / 30).ravel()
    np.testing.assert_allclose(recording.times, times, atol=1e-6)
    assert (recording.nominal_rate, recording.range_g, recording.device) == (30, 8, "ActiGraph Link")
    assert recording.metadata == {"device_id": "TAS1H00000001", "firmware": "1.7.2", "time_zone": "01:00:00"}
    assert recording.notes == ()


def test_pieces_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = archive(tmp_path / "visit.gt3x", b"".join(plain(second) for second in range(50)))
    whole = next(load(path)).recording
    assert len(whole.times) == 1500
    monkeypatch.setattr(actigraph_log, "PIECE_BYTES", 101)
    monkeypatch.setattr(actigraph_log, "BYTES_AT_A_TIME", 7 * 180)
    pieces = next(load(path)).recording
    np.testing.assert_array_equal(pieces.times, whole.times)
    np.testing.assert_array_equal(pieces.acceleration, whole.acceleration)
    assert pieces.notes == ()


@pytest.mark.parametrize("at", [0, 1, 3, 6, 7, 20, -1])
def test_a_damaged_record_is_dropped(tmp_path: Path, at: int) -> None:
    records = [plain(second) for second in range(10)]
    broken = bytearray(records[5])
    broken[at] ^= 0x40
    records[5] = bytes(broken)
    recording = next(load(archive(tmp_path / "damaged.gt3x", b"".join(records)))).recording
    assert [note.kind for note in recording.notes] == ["damaged blocks"]
    good = [second for second in range(10) if second != 5]
    assert np.unique(np.floor(recording.times - START)).tolist() == good
    expected = np.concatenate([counts(second) for second in good]) / 256
    np.testing.assert_array_equal(recording.acceleration, expected.astype(np.float32))


@pytest.mark.parametrize("days", [-2, 400])
def test_a_record_from_another_time_is_dropped(tmp_path: Path, days: int) -> None:
    stray = record(PLAIN, START + days * 86_400, counts(0).astype("<i2").tobytes())
    log = plain(0) + stray + plain(1) + plain(2)
    recording = next(load(archive(tmp_path / "time.gt3x", log))).recording
    assert [(note.kind, note.count) for note in recording.notes] == [("isolated stamps", 1)]
    assert len(recording.times) == 90


@pytest.mark.parametrize(("wild", "note", "samples"), [(1, "absurd values", 89), (5, "damaged blocks", 60)])
def test_values_beyond_full_scale_are_dropped(tmp_path: Path, wild: int, note: str, samples: int) -> None:
    values = counts(1)
    values[7 : 7 + wild, 1] = 0x3030  # an even number of equal bytes does not change the checksum
    log = plain(0) + record(PLAIN, START + 1, values.astype("<i2").tobytes()) + plain(2)
    recording = next(load(archive(tmp_path / "wild.gt3x", log))).recording
    assert [(note.kind, note.count) for note in recording.notes] == [(note, 1)]
    assert len(recording.times) == samples
    assert np.abs(recording.acceleration).max() <= 8


def test_a_log_that_ends_within_a_record(tmp_path: Path) -> None:
    log = b"".join(plain(second) for second in range(10))[:-20]
    recording = next(load(archive(tmp_path / "cut.gt3x", log))).recording
    assert len(recording.times) == 9 * 30
    assert len(recording.notes) == 1


def test_seconds_with_more_or_fewer_samples_stay_in_their_second(tmp_path: Path) -> None:
    log = b"".join(plain(second, samples) for second, samples in enumerate([30, 31, 29, 4, 30]))
    times = next(load(archive(tmp_path / "uneven.gt3x", log))).recording.times
    assert np.bincount(np.floor(times - START).astype(int)).tolist() == [30, 31, 29, 4, 30]


def test_the_old_layout(tmp_path: Path) -> None:
    info = {key: value for key, value in INFO.items() if not key.startswith("Acceleration")}
    info |= {"Serial Number": "NEO1C00000001", "Device Type": "GT3XPlus"}
    values = counts(0, 301)
    (found,) = load(archive(tmp_path / "old.gt3x", packed(values), info, "activity.bin"))
    recording = found.recording
    np.testing.assert_array_equal(recording.acceleration, (values / np.float32(341)).astype(np.float32))
    np.testing.assert_allclose(recording.times, START + np.arange(301) / 30, atol=1e-6)
    assert recording.range_g == 6


def test_the_documents_example() -> None:
    """The bytes and numbers of LogRecords/Activity.md."""
    example = np.frombuffer(bytes.fromhex("006008EBD007009EBF007008EBF0"), np.uint8).reshape(1, -1)
    assert unpack(example).reshape(-1, 3).tolist() == [[8, 6, -323], [9, 7, -321], [8, 7, -321]]


@given(st.lists(st.tuples(*[st.integers(-2048, 2047)] * 3), min_size=1, max_size=40))
def test_unpacking_undoes_packing(values: list[tuple[int, int, int]]) -> None:
    samples = np.array(values)
    row = np.frombuffer(packed(samples), np.uint8).reshape(1, -1)
    np.testing.assert_array_equal(unpack(row).reshape(-1, 3), samples)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Sample Rate": "fast"}, "info.txt gives 'fast' as 'Sample Rate': export"),
        ({"Sample Rate": "0"}, "info.txt gives '0' as 'Sample Rate' for the device TAS1H00000001: not usable"),
        ({"Acceleration Scale": "0"}, "info.txt gives '0' as 'Acceleration Scale'"),
        ({"Acceleration Scale": "nan"}, "info.txt gives 'nan' as 'Acceleration Scale'"),
        ({"Acceleration Max": "-8"}, "info.txt gives '-8' as 'Acceleration Max'"),
    ],
)
def test_bad_info_is_refused(tmp_path: Path, change: dict[str, str], message: str) -> None:
    with pytest.raises(HarnetError, match=rf"info\.gt3x: {message}") as caught:
        list(load(archive(tmp_path / "info.gt3x", plain(0), INFO | change)))
    assert "\n" not in str(caught.value)


def test_an_old_file_without_a_usable_start_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "old.gt3x", packed(counts(0)), INFO | {"Start Date": "0"}, name="activity.bin")
    with pytest.raises(HarnetError, match=r"old\.gt3x: info\.txt gives '0' as 'Start Date' for the device TAS1H"):
        list(load(path))


def test_an_unknown_device_without_a_scale_is_refused(tmp_path: Path) -> None:
    info = {"Serial Number": "XYZ1", "Sample Rate": "30", "Start Date": INFO["Start Date"]}
    with pytest.raises(HarnetError, match=r"info\.txt gives '' as 'Acceleration Scale' for the device XYZ1"):
        list(load(archive(tmp_path / "unknown.gt3x", plain(0), info)))


def test_damaged_archives_are_refused_or_kept_as_far_as_they_go(tmp_path: Path) -> None:
    path = archive(tmp_path / "visit.gt3x", b"".join(plain(second) for second in range(2000)))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(HarnetError, match=r"visit\.gt3x: the zip archive is damaged or cut off"):
        list(load(path))
    broken = bytearray(content)
    broken[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    path.write_bytes(broken)
    recording = next(load(path)).recording
    assert any("cannot be unpacked from there on" in note.detail for note in recording.notes)
    assert set(np.floor(recording.times - START)) <= set(range(2000))
    assert len(recording.times) > 3000
    rows = {tuple(row) for second in range(2000) for row in (counts(second) / 256).astype(np.float32).tolist()}
    assert {tuple(row) for row in recording.acceleration.tolist()} <= rows


def test_missing_members_and_empty_logs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "part.gt3x"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("log.bin", plain(0))
    with pytest.raises(HarnetError, match=r"without info\.txt"):
        list(load(path))
    with pytest.raises(HarnetError, match="a zip archive without a device file"):
        list(load(archive(path, b"", name="lux.bin")))
    with pytest.raises(HarnetError, match="no second of acceleration"):
        list(load(archive(path, record(3, START, b"\x08"))))


def test_a_log_that_announces_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actigraph, "MAX_BYTES", 1000)
    with pytest.raises(HarnetError, match=r"log\.bin unpacks to"):
        list(load(archive(tmp_path / "bomb.gt3x", bytes(10_000))))


def test_other_zip_archives_are_not_recognised(tmp_path: Path) -> None:
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.md", "hello")
    with pytest.raises(HarnetError, match="a zip archive without a device file"):
        list(load(path))


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        *(("01:00:00", 3600), ("-04:00:00", -14400), ("05:30:00", 19800), ("x", None), ("99:00:00", None)),
        *(("-04:00", -14400), ("+0530", 19800), ("-4", -14400), ("UTC+01:00", 3600), ("01:00:00.0000000", 3600)),
    ],
)
def test_the_offset_by_which_the_device_was_set(tmp_path: Path, text: str, offset: int | None) -> None:
    path = archive(tmp_path / "x.gt3x", b"".join(plain(second) for second in range(10)), {**INFO, "TimeZone": text})
    assert next(load(path)).recording.utc_offset == offset
