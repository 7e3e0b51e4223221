import io
import tarfile

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.block import Block, from_range, range_length, to_sample, trim, window_starts
from data_shards.layout import MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR


def block_of(seconds: int) -> Block:
    random = np.random.default_rng(seconds)
    return Block(
        participant="p",
        recording="p-1",
        hour=7,
        first_second=0,
        accel=random.integers(-32767, 32768, (3, seconds * RATE)).astype(np.int16),
        motion=random.random(seconds).astype(np.float32),
        wear=random.integers(0, 2, seconds).astype(np.uint8),
    )


@given(st.integers(1, SECONDS_PER_HOUR))
@settings(max_examples=25, deadline=None)
def test_the_range_of_a_block_in_a_real_tar_gives_its_arrays_back(seconds: int) -> None:
    block = block_of(seconds)
    file = io.BytesIO()
    with wds.TarWriter(file, encoder=False, mtime=0) as tar:
        tar.write(to_sample(block))
    file.seek(0)
    with tarfile.open(fileobj=file) as tar:
        start = tar.getmember("p-1/7.accel.npy").offset_data
    content = memoryview(file.getvalue())[start : start + range_length(seconds * RATE)]
    accel, motion, wear = from_range(content, seconds * RATE)
    np.testing.assert_array_equal(accel, block.accel)
    np.testing.assert_array_equal(motion, block.motion)
    np.testing.assert_array_equal(wear, block.wear)


def test_a_range_of_another_block_is_refused() -> None:
    with pytest.raises(ValueError, match="bytes where a block of"):
        from_range(memoryview(b"x" * 100), 30)
    with pytest.raises(ValueError, match="no <i2 array"):
        from_range(memoryview(b"x" * range_length(30)), 30)


def test_only_the_ends_of_an_hour_are_trimmed() -> None:
    accel = np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16)
    accel[:, 100 * RATE + 7 : 200 * RATE] = 1
    accel[:, 300 * RATE : 301 * RATE - 1] = 1
    nothing = np.zeros(SECONDS_PER_HOUR)
    assert trim(0, accel, nothing.astype(np.float32), nothing.astype(np.uint8)) == slice(100, 301)


@given(st.lists(st.integers(0, 1), max_size=80), st.sampled_from([5, 10, 30]))
def test_windows_start_where_every_second_is_worn(wear: list[int], seconds: int) -> None:
    expected = [start for start in range(len(wear) - seconds + 1) if all(wear[start : start + seconds])]
    assert window_starts(np.array(wear, np.uint8), seconds).tolist() == expected
