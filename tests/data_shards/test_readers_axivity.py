"""The .cwa reader, on files written here from the format document (cwa.h) and on real ones where available."""

import datetime
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.make_cwa import MakeOptions, make, true_acceleration
from data_shards.ingest.known_devices import device_name
from data_shards.notes import Note
from data_shards.readers import axivity_blocks, load
from data_shards.readers.axivity_blocks import BLOCK_BYTES, HEADER_BYTES, choose_blocks
from data_shards.readers.oddities import Tally
from data_shards.synthetic.diary import diary
from data_shards.synthetic.motion import course, measure
from data_shards.synthetic.people import person
from harnet.errors import HarnetError

RATE, PER_BLOCK = 100, 80
START = datetime.datetime(2024, 3, 1, 12, 0, 0, tzinfo=datetime.UTC)


def packed(time: datetime.datetime) -> int:
    return (
        (time.year - 2000) << 26 | time.month << 22 | time.day << 17 | time.hour << 12 | time.minute << 6 | time.second
    )


def header() -> bytes:
    content = bytearray(b"\xff" * HEADER_BYTES)
    content[:4] = b"MD\xfc\x03"
    content[4] = 0x17  # AX3
    struct.pack_into("<HI", content, 5, 1234, 7)  # device, session
    content[36] = 0x4A  # 100 Hz, ±8 g
    content[64:85] = b"_so=A.Name&_p=1".ljust(21)
    return bytes(content)


def block(number: int, counts: np.ndarray, start: float | None = None, session: int = 7, rate: int = 0x4A) -> bytes:
    """80 samples of (x, y, z) in 1/256 g that begin 0.8 * number seconds after START."""
    start = number * PER_BLOCK / RATE if start is None else start
    second = int(np.ceil(start))
    content = bytearray(BLOCK_BYTES)
    struct.pack_into("<2sHHII", content, 0, b"AX", 508, 0, session, number)
    struct.pack_into("<I", content, 14, packed(START + datetime.timedelta(seconds=second)))
    struct.pack_into("<HHBBBBhH", content, 18, 0, 0, 0, 200, rate, 0x32, round((second - start) * RATE), PER_BLOCK)
    content[30:510] = counts.astype("<i2").tobytes()
    total = int(np.frombuffer(content, "<u2").sum(dtype=np.uint64))
    struct.pack_into("<H", content, 510, -total % 65_536)
    return bytes(content)


def counts(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(-500, 500, (PER_BLOCK, 3))


def write(path: Path, blocks: list[bytes]) -> Path:
    path.write_bytes(header() + b"".join(blocks))
    return path


@pytest.fixture
def blocks() -> list[bytes]:
    return [block(number, counts(number)) for number in range(50)]


def test_times_values_and_metadata(tmp_path: Path, blocks: list[bytes]) -> None:
    (found,) = load(write(tmp_path / "no.extension", blocks))
    recording = found.recording
    expected = np.concatenate([counts(number) for number in range(50)]) / 256
    np.testing.assert_array_equal(recording.acceleration, expected.astype(np.float32))
    np.testing.assert_allclose(recording.times, START.timestamp() + np.arange(len(expected)) / RATE, atol=1e-5)
    assert (recording.nominal_rate, recording.clock, recording.device) == (100.0, "local", "Axivity AX3")
    assert recording.notes == ()
    # The annotation is free text and may contain a name.
    assert "Name" not in repr(recording.metadata)
    assert recording.metadata["device_id"] == 1234


@pytest.mark.parametrize("number", [0, 0xFFFF])
def test_devices_without_an_id_are_not_one_device(number: int, tmp_path: Path, blocks: list[bytes]) -> None:
    path = write(tmp_path / "p.cwa", blocks)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 5, number)
    path.write_bytes(content)
    (found,) = load(path)
    assert device_name(found.recording.device, found.recording.metadata) is None


def test_damaged_blocks_are_left_out_and_show_in_the_times(tmp_path: Path, blocks: list[bytes]) -> None:
    whole = next(load(write(tmp_path / "whole.cwa", blocks))).recording
    for number in (0, 20, 21, 49):
        broken = bytearray(blocks[number])
        broken[100] ^= 0x10
        blocks[number] = bytes(broken)
    recording = next(load(write(tmp_path / "damaged.cwa", blocks))).recording
    good = np.repeat(~np.isin(np.arange(50), (0, 20, 21, 49)), PER_BLOCK)
    assert recording.notes == (Note("damaged blocks", 4, "of 50"),)
    np.testing.assert_array_equal(recording.acceleration, whole.acceleration[good])
    # Without its neighbour, a block's first time is known only to one sample period.
    np.testing.assert_allclose(recording.times, whole.times[good], atol=1.01 / RATE)
    assert np.flatnonzero(np.diff(recording.times) > 0.5).tolist() == [19 * PER_BLOCK - 1]


def test_memory_never_written_is_no_damage(tmp_path: Path, blocks: list[bytes]) -> None:
    path = write(tmp_path / "preallocated.cwa", [*blocks, b"\xff" * BLOCK_BYTES, b"\x00" * BLOCK_BYTES])
    blocks_of_it = choose_blocks(path, Tally(path))
    assert (int(blocks_of_it.chosen.sum()), blocks_of_it.written) == (50, 50)
    (found,) = load(path)
    assert found.recording.notes == ()
    assert len(found.recording.times) == 50 * PER_BLOCK


def test_a_truncated_file_keeps_its_whole_blocks(tmp_path: Path, blocks: list[bytes]) -> None:
    path = write(tmp_path / "cut.cwa", [*blocks[:10], blocks[10][:100]])
    recording = next(load(path)).recording
    assert len(recording.times) == 10 * PER_BLOCK
    assert recording.notes == (Note("cut end", 1, "within a data block"),)


def test_a_clock_that_jumps_back_is_refused(tmp_path: Path, blocks: list[bytes]) -> None:
    again = [block(50 + number, counts(number), start=number * 0.8) for number in range(50)]
    with pytest.raises(HarnetError, match=r"reset\.cwa: backward times: 49 of 100, blocks; the first is number 51"):
        list(load(write(tmp_path / "reset.cwa", blocks + again)))


def test_nothing_sound_is_refused(tmp_path: Path, blocks: list[bytes]) -> None:
    with pytest.raises(HarnetError, match=r"no data block after the header: .* if it recorded nothing, exclude it"):
        list(load(write(tmp_path / "empty.cwa", [])))
    with pytest.raises(HarnetError, match="no usable data block among 3"):
        list(load(write(tmp_path / "bad.cwa", [b"AX\xfc\x01" + b"\x01" * 508] * 3)))
    path = tmp_path / "header.cwa"
    path.write_bytes(bytes(HEADER_BYTES) + b"".join(blocks))
    with pytest.raises(HarnetError, match=r"the header .* is damaged"):
        list(load(path))


@pytest.mark.parametrize("stamp", [0, packed(START) & ~(0xF << 22), packed(START) | 0x1F << 12])
def test_a_block_without_a_date_is_dropped(tmp_path: Path, blocks: list[bytes], stamp: int) -> None:
    broken = bytearray(blocks[10])
    struct.pack_into("<I", broken, 14, stamp)
    struct.pack_into("<H", broken, 510, 0)
    struct.pack_into("<H", broken, 510, -int(np.frombuffer(broken, "<u2").sum(dtype=np.uint64)) % 65_536)
    blocks[10] = bytes(broken)
    recording = next(load(write(tmp_path / "stamp.cwa", blocks))).recording
    assert recording.notes == (Note("damaged blocks", 1, "of 50"),)
    assert len(recording.times) == 49 * PER_BLOCK


def test_full_scale_and_temperature(tmp_path: Path) -> None:
    path = tmp_path / "made.cwa"
    count = make(path, MakeOptions(days=1 / 48, gain=(1, 1, 1), offset=(0, 0, 0)))
    (found,) = load(path)
    recording = found.recording
    assert recording.range_g == 8
    assert len(recording.times) == count == 180_000
    np.testing.assert_allclose(np.diff(recording.times), 0.01, atol=2e-6)
    # The resolution is 1/256 g, and 1/128 g beyond 2 g.
    np.testing.assert_allclose(recording.acceleration, true_acceleration(0, count, seed=0), atol=1 / 128)
    temperature = recording.temperature
    assert temperature is not None
    # One reading per block, at the time of its first sample; the unit is 75/256 °C.
    np.testing.assert_array_equal(temperature.times, recording.times[::120])
    seconds = temperature.times - temperature.times[0]
    expected = 29 + 3.5 * np.sin(2 * np.pi * seconds / 86_400) + 1.5 * np.sin(2 * np.pi * seconds / 10_800)
    np.testing.assert_allclose(temperature.celsius, expected, atol=75 / 512 + 1e-4)


def test_rate_and_range_are_those_of_the_blocks(tmp_path: Path, blocks: list[bytes]) -> None:
    path = write(tmp_path / "rate.cwa", blocks)
    content = bytearray(path.read_bytes())
    content[36] = 0x89  # ±4 g, 50 Hz, in a header that has no checksum
    path.write_bytes(content)
    recording = next(load(path)).recording
    assert (recording.nominal_rate, recording.range_g) == (100, 8)


def test_no_thermometer(tmp_path: Path, blocks: list[bytes]) -> None:
    assert next(load(write(tmp_path / "cold.cwa", blocks))).recording.temperature is None


@pytest.mark.parametrize("size", [7, 64])
@pytest.mark.parametrize(
    "name",
    ["ax3_testfile_corrupt_blocks_0_13_14_142_143_144.cwa", "ax6_paradigma.cwa", "example-610-steps.cwa"],
)
def test_pieces_give_what_the_whole_gives(
    name: str, size: int, shared: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared(f"data/devices/{name}")
    monkeypatch.setattr(axivity_blocks, "BLOCKS_AT_A_TIME", 1 << 20)
    whole = next(load(path)).recording
    monkeypatch.setattr(axivity_blocks, "BLOCKS_AT_A_TIME", size)
    pieces = next(load(path)).recording
    np.testing.assert_array_equal(pieces.times, whole.times)
    np.testing.assert_array_equal(pieces.acceleration, whole.acceleration)
    assert pieces.temperature is not None
    assert whole.temperature is not None
    np.testing.assert_array_equal(pieces.temperature.times, whole.temperature.times)
    np.testing.assert_array_equal(pieces.temperature.celsius, whole.temperature.celsius)
    assert pieces.notes == whole.notes


def test_the_real_file_with_six_damaged_blocks(shared: Callable[[str], Path]) -> None:
    clean = next(load(shared("data/devices/ax3_testfile.cwa"))).recording
    name = "data/devices/ax3_testfile_corrupt_blocks_0_13_14_142_143_144.cwa"
    recording = next(load(shared(name))).recording
    good = np.repeat(~np.isin(np.arange(145), (0, 13, 14, 142, 143, 144)), 120)
    np.testing.assert_array_equal(recording.acceleration, clean.acceleration[good])
    np.testing.assert_allclose(recording.times, clean.times[good], atol=0.0101)


def test_a_file_of_a_synthetic_person_holds_that_person(tmp_path: Path) -> None:
    options = MakeOptions(days=1 / 24, seed=1, person=3, gain=(1, 1, 1), offset=(0, 0, 0))
    make(tmp_path / "p3.cwa", options)
    recording = next(load(tmp_path / "p3.cwa")).recording
    someone = person(1, 3)
    counts = measure(someone, 1, 3, course(someone, 1, 3, diary(someone, 1, 3, 1)))
    # Sample times at 100 Hz and 30 Hz coincide every tenth of a second.
    expected = counts[:, : 3600 * 30 : 3].T / 4096
    np.testing.assert_allclose(recording.acceleration[::10], expected, atol=0.51 / 256 + 1e-6)
