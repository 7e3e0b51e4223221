"""Sample times of an Axivity, compared with clocks made here, the real files' own stamps, and two other readers."""

import datetime
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import cwa_reader_rs
import numpy as np
import pytest

from data_shards.readers import load
from data_shards.readers.axivity_blocks import BLOCK_BYTES
from tests.data_shards.test_readers_axivity import START, header, packed

pd = pytest.importorskip("pandas", reason="needs pandas: pip install 'harnet[apply]'")

BLOCKS = 300


def block(number: int, code: int, bits: int, samples: int, at: float, taken: int, fractional: bool) -> bytes:
    """A block of 1 g on z whose clock read `at` seconds after START at sample `taken`, written as the firmware does."""
    rate = 3200 / (1 << 15 - (code & 15))
    second = int(np.floor(at))
    fraction = int((at - second) * 32_768)
    if fractional:
        # cwa.h: the offset "was already adjusted to minimize this assuming ideal sample rate"; the rate is in whole Hz.
        taken -= (fraction << 1) * int(rate) >> 16
    content = bytearray(BLOCK_BYTES)
    struct.pack_into("<2sHHII", content, 0, b"AX", 508, 0x8000 | fraction if fractional else 0, 7, number)
    struct.pack_into("<I", content, 14, packed(START + datetime.timedelta(seconds=second)))
    struct.pack_into("<HHBBBBhH", content, 18, 0, 0, 0, 200, code, bits, taken, samples)
    sample = {
        0x30: np.array([256 << 20], "<u4"),
        0x32: np.array([0, 0, 256], "<i2"),
        0x62: np.array([0] * 5 + [256], "<i2"),
    }[bits]
    content[30:510] = np.tile(sample, samples).tobytes()
    struct.pack_into("<H", content, 510, -int(np.frombuffer(content, "<u2").sum(dtype=np.uint64)) % 65_536)
    return bytes(content)


def made(path: Path, code: int, bits: int, drift: float, fractional: bool = True, lost: int = -1) -> np.ndarray:
    """Write a recording whose sensor runs at `drift` times its nominal rate; return the true sample times."""
    random = np.random.default_rng(code * bits)
    rate = 3200 / (1 << 15 - (code & 15)) * drift
    samples = {0x30: 120, 0x32: 80, 0x62: 40}[bits]
    times = random.uniform(0, 1) + np.arange(BLOCKS * samples) / rate
    blocks = []
    for number in range(BLOCKS):
        taken = int(random.integers(samples)) if fractional else 0
        at = times[number * samples + taken]
        if not fractional:  # the sample nearest to a whole second
            taken, at = round((np.ceil(at) - at) * rate), np.ceil(at)
        blocks.append(block(number, code, bits, samples, at, taken, fractional))
    if lost >= 0:
        del blocks[lost]
        times = np.delete(times, slice(lost * samples, (lost + 1) * samples))
    path.write_bytes(header() + b"".join(blocks))
    return START.timestamp() + times


@pytest.mark.parametrize("drift", [1.0, 0.985, 1.004])
@pytest.mark.parametrize("code", [0x47, 0x4A, 0x4D], ids=["12.5 Hz", "100 Hz", "800 Hz"])
def test_packed_and_unpacked_blocks_are_right_to_a_millisecond(tmp_path: Path, code: int, drift: float) -> None:
    for bits in (0x30, 0x32, 0x62):
        truth = made(tmp_path / "x.cwa", code, bits, drift)
        times = next(load(tmp_path / "x.cwa")).recording.times
        np.testing.assert_allclose(times, truth, atol=1e-3, rtol=0)


@pytest.mark.parametrize("lost", [0, 1, 150, BLOCKS - 2, BLOCKS - 1])
def test_beside_a_lost_block(tmp_path: Path, lost: int) -> None:
    truth = made(tmp_path / "x.cwa", 0x4A, 0x30, 0.985, lost=lost)
    times = next(load(tmp_path / "x.cwa")).recording.times
    np.testing.assert_allclose(times, truth, atol=1e-3, rtol=0)


def test_a_single_block_and_two(tmp_path: Path) -> None:
    made(tmp_path / "x.cwa", 0x4A, 0x32, 1.0)
    content = (tmp_path / "x.cwa").read_bytes()
    whole = next(load(tmp_path / "x.cwa")).recording.times
    for blocks in (1, 2):
        (tmp_path / "few.cwa").write_bytes(content[: 1024 + 512 * blocks])
        times = next(load(tmp_path / "few.cwa")).recording.times
        np.testing.assert_allclose(times, whole[: len(times)], atol=1e-3, rtol=0)


@pytest.mark.parametrize("code", [0x4A, 0x4B])
def test_old_firmware_without_fractions_is_right_to_half_a_sample(tmp_path: Path, code: int) -> None:
    for bits in (0x30, 0x32):
        truth = made(tmp_path / "x.cwa", code, bits, 0.99, fractional=False)
        times = next(load(tmp_path / "x.cwa")).recording.times
        np.testing.assert_allclose(times, truth, atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ["ax3_testfile.cwa", "ax6_testfile.cwa", "ax6_paradigma.cwa", "example-610-steps.cwa"])
def test_real_files_never_step_and_agree_with_the_other_readers(name: str, shared: Callable[[str], Path]) -> None:
    path = shared(f"data/devices/{name}")
    recording = next(load(path)).recording
    times, period = recording.times, 1 / recording.nominal_rate
    steps = np.diff(times) / period
    assert 0.8 < steps.min() <= steps.max() < 1.2
    frame = cwa_reader_rs.read_cwa_file(str(path))
    # This reader ignores the fraction, so it is early by up to a sample or two.
    theirs = pd.DatetimeIndex(frame.index).as_unit("us").asi8 / 1e6
    assert np.abs(theirs - times).max() < 2.5 * period
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        io = pytest.importorskip("skdh.io", reason="needs scikit-digital-health (pip)")
        theirs = io.ReadCwa().predict(file=str(path), tz_name=None)["time"]
    assert np.abs(theirs - times).max() < 2.5 * period
