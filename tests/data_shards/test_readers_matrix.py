"""The Matrix reader, on files written here from the documented layout."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import load
from harnet.errors import HarnetError

START, SECONDS, PER_PACKET = 1_709_290_800, 60, 1500


def counts(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-32_768, 32_768, (PER_PACKET, 3))


def header(packets: int, range_g: int = 8, tag: bytes = b"MDTC") -> bytes:
    return b"A Name".ljust(512, b"\0") + struct.pack("<4sIHH", tag, packets, range_g, 2000)


def packet(number: int) -> bytes:
    start = START + number * SECONDS
    gyroscope = np.ones((10, 3), "<i2")
    temperature = np.array([[300 + number, 250], [310 + number, 251]], "<i2")
    heart = np.array([[70, 71]], "<i2")
    body = struct.pack("<IIIIII", start, start + SECONDS, PER_PACKET, len(gyroscope), len(temperature), len(heart))
    body += b"".join(each.tobytes() for each in (counts(number).astype("<i2"), gyroscope, temperature, heart))
    return b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body


@pytest.fixture
def packets() -> list[bytes]:
    return [packet(number) for number in range(6)]


def write(path: Path, packets: list[bytes], head: bytes | None = None) -> Path:
    path.write_bytes((header(6) if head is None else head) + b"".join(packets))
    return path


def g(numbers: list[int], range_g: int = 8) -> np.ndarray:
    return (np.concatenate([counts(number) for number in numbers]) * (range_g / 32_768)).astype(np.float32)


@pytest.mark.parametrize("range_g", [2, 16])
def test_times_values_and_temperature(tmp_path: Path, packets: list[bytes], range_g: int) -> None:
    (found,) = load(write(tmp_path / "visit.BIN", packets, header(6, range_g)))
    recording = found.recording
    np.testing.assert_array_equal(recording.acceleration, g(list(range(6)), range_g))
    np.testing.assert_allclose(recording.times, START + np.arange(6 * PER_PACKET) / 25, atol=1e-6)
    assert (recording.nominal_rate, recording.range_g, recording.clock) == (25, range_g, "utc")
    assert recording.temperature is not None
    assert recording.temperature.celsius[:4].tolist() == pytest.approx([30, 31, 30.1, 31.1])
    np.testing.assert_array_equal(recording.temperature.times, START + np.arange(12) * 30)
    assert (recording.notes, recording.metadata) == ((), {})


@pytest.mark.parametrize("at", [0, 9, 14, 21, 22, 40, 5000, -1])
def test_a_damaged_packet_is_dropped(tmp_path: Path, packets: list[bytes], at: int) -> None:
    broken = bytearray(packets[2])
    broken[at] ^= 0x40
    packets[2] = bytes(broken)
    recording = next(load(write(tmp_path / "damaged.BIN", packets))).recording
    assert recording.notes == (Note("damaged blocks", 1, "packets, of 6"),)
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 3, 4, 5]))
    assert np.diff(recording.times).max() > SECONDS


def test_lost_and_stray_bytes(tmp_path: Path, packets: list[bytes]) -> None:
    packets[1] = packets[1][:-3]
    packets[4] = packets[4] + b"stray"
    recording = next(load(write(tmp_path / "lost.BIN", packets))).recording
    np.testing.assert_array_equal(recording.acceleration, g([0, 2, 3, 4, 5]))


@pytest.mark.parametrize("cut", [10, 3000])
def test_a_cut_off_file_keeps_its_whole_packets(tmp_path: Path, packets: list[bytes], cut: int) -> None:
    recording = next(load(write(tmp_path / "cut.BIN", [*packets[:5], packets[5][:cut]]))).recording
    assert recording.notes == (Note("cut end", 1, "within a packet"),)
    np.testing.assert_array_equal(recording.acceleration, g(list(range(5))))


@pytest.mark.parametrize("head", [header(6, 7), header(6, tag=b"MDXX")])
def test_a_damaged_header_is_refused(tmp_path: Path, packets: list[bytes], head: bytes) -> None:
    with pytest.raises(HarnetError, match=r"head\.BIN: the header \(bytes 513 to 524\) is damaged"):
        list(load(write(tmp_path / "head.BIN", packets, head)))


def test_nothing_sound_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="no intact acceleration packet among 6"):
        list(load(write(tmp_path / "none.BIN", [])))


@pytest.mark.parametrize("other", [header(6, 4), b"Another".ljust(512, b"\0") + header(6)[512:]])
def test_two_recordings_in_one_file_are_refused(tmp_path: Path, packets: list[bytes], other: bytes) -> None:
    before = header(6) + b"".join(packets[:3])
    with pytest.raises(HarnetError, match=rf"x\.BIN: at byte {len(before) + 1:,} is the header of another recording"):
        next(load(write(tmp_path / "x.BIN", [other, *packets[3:]], before)))
    (found,) = load(write(tmp_path / "y.BIN", [header(6), *packets[3:]], before))
    assert len(found.recording.times) == 6 * PER_PACKET


@pytest.mark.parametrize("at", [0, 2, 5])
def test_a_packet_of_another_century_is_left_out(tmp_path: Path, packets: list[bytes], at: int) -> None:
    body = bytearray(packets[at][12:])
    struct.pack_into("<II", body, 0, 2**32 - 100, 2**32 - 40)
    packets[at] = b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + bytes(body)
    (note,) = next(load(write(tmp_path / "x.BIN", packets))).recording.notes
    assert (note.kind, note.count) == ("isolated stamps", 1)


@pytest.mark.parametrize("how", ["each", "file after file"])
def test_packets_that_are_there_twice_are_read_once(tmp_path: Path, packets: list[bytes], how: str) -> None:
    again = [each for one in packets for each in (one, one)] if how == "each" else [*packets, header(6), *packets]
    recording = next(load(write(tmp_path / "twice.BIN", again))).recording
    assert recording.notes == (Note("repeated blocks", 6, "packets, of 12"),)
    np.testing.assert_array_equal(recording.acceleration, g(list(range(6))))


@pytest.mark.parametrize("days", [-4000, 100])
@pytest.mark.parametrize("at", [0, 1, 3, 5])
def test_a_packet_of_another_time_is_left_out(tmp_path: Path, packets: list[bytes], at: int, days: int) -> None:
    body = bytearray(packets[at][12:])
    start = START + at * SECONDS + days * 86_400
    struct.pack_into("<II", body, 0, start, start + SECONDS)
    packets[at] = b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body
    recording = next(load(write(tmp_path / "stray.BIN", packets))).recording
    (note,) = recording.notes
    assert (note.kind, note.count) == ("isolated stamps", 1)
    np.testing.assert_array_equal(recording.acceleration, g([other for other in range(6) if other != at]))


def test_a_packet_that_ends_at_another_time_is_damaged(tmp_path: Path, packets: list[bytes]) -> None:
    body = bytearray(packets[2][12:])
    struct.pack_into("<I", body, 4, START + 3 * SECONDS + 4000)
    packets[2] = b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body
    recording = next(load(write(tmp_path / "end.BIN", packets))).recording
    assert recording.notes == (Note("damaged blocks", 1, "packets, of 6"),)
    assert recording.nominal_rate == 25
    np.testing.assert_array_equal(recording.acceleration, g([0, 1, 3, 4, 5]))


def test_a_packet_without_a_duration_is_damaged(tmp_path: Path, packets: list[bytes]) -> None:
    body = bytearray(packets[2][12:])
    struct.pack_into("<I", body, 4, START + 2 * SECONDS)
    packets[2] = b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body
    recording = next(load(write(tmp_path / "none.BIN", packets))).recording
    assert recording.notes == (Note("damaged blocks", 1, "packets, of 6"),)


@pytest.mark.parametrize("announced", [0, 3, 6, 0xFFFFFFFF])
def test_a_header_may_announce_fewer_packets_or_an_unknown_number(
    tmp_path: Path, packets: list[bytes], announced: int
) -> None:
    assert next(load(write(tmp_path / "x.BIN", packets, header(announced)))).recording.notes == ()


def test_a_header_that_counts_repeated_packets(tmp_path: Path, packets: list[bytes]) -> None:
    recording = next(load(write(tmp_path / "x.BIN", packets + packets, header(12)))).recording
    assert recording.notes == (Note("repeated blocks", 6, "packets, of 12"),)


def test_packets_that_last_for_years_are_refused(tmp_path: Path, packets: list[bytes]) -> None:
    for number, content in enumerate(packets):
        body = bytearray(content[12:])
        struct.pack_into("<II", body, 0, 0, START)
        packets[number] = b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body
    with pytest.raises(HarnetError, match=r"x\.BIN: the packets hold less than a sample in ten seconds"):
        list(load(write(tmp_path / "x.BIN", packets)))


def test_packets_without_a_common_rate_are_refused(tmp_path: Path, packets: list[bytes]) -> None:
    body = bytearray(packets[1][12:])
    struct.pack_into("<I", body, 4, struct.unpack_from("<I", body)[0] + 100 * SECONDS)
    content = [packets[0], b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body]
    with pytest.raises(HarnetError, match="no two packets have the same sampling rate"):
        list(load(write(tmp_path / "x.BIN", content, header(2))))


def test_a_temperature_that_cannot_be_is_left_out(tmp_path: Path, packets: list[bytes]) -> None:
    body = bytearray(packets[2][12:])
    struct.pack_into("<h", body, 24 + 6 * (PER_PACKET + 10), -32_768)
    packets[2] = b"MDTCPACK" + struct.pack("<I", zlib.crc32(body)) + body
    recording = next(load(write(tmp_path / "x.BIN", packets))).recording
    assert recording.notes == (Note("missing temperatures", 1, "the first -3277 °C at 2024-03-01 11:02:00"),)
    assert recording.temperature is not None
    assert len(recording.temperature.celsius) == 11
