import io
import struct
import tarfile
from typing import get_args

import numpy as np
import pytest
import webdataset as wds
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.layout import MISSING, RATE, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.shards import tar
from data_shards.shards.block import (
    Block,
    digest,
    encode,
    from_range,
    head,
    parse_block_metadata,
    range_at,
    range_length,
    to_sample,
    trim,
    window_starts,
)
from data_shards.shards.compression import Compression, decompress

COMPRESSIONS = get_args(Compression)


def block_of(seconds: int) -> Block:
    random = np.random.default_rng(seconds)
    return Block(
        participant="p",
        recording="p-1",
        hour=7,
        first_second=0,
        accel=random.integers(-500, 500, (3, seconds * RATE)).astype(np.int16),
        motion=random.random(seconds).astype(np.float32),
        wear=random.integers(0, 2, seconds).astype(np.uint8),
    )


def content_range(block: Block, compression: Compression) -> memoryview:
    encoded = encode(block, compression)
    return memoryview(encoded.content)[encoded.start : encoded.start + encoded.length]


@given(st.integers(1, SECONDS_PER_HOUR), st.sampled_from(COMPRESSIONS))
@settings(max_examples=25, deadline=None)
def test_the_range_of_a_block_in_a_real_tar_gives_its_arrays_back(seconds: int, compression: Compression) -> None:
    block = block_of(seconds)
    encoded = encode(block, compression)
    file = io.BytesIO()
    with wds.TarWriter(file, encoder=False, mtime=0, user="", group="") as writer:
        writer.write({"__key__": block.key, **to_sample(block, compression)})
    assert file.getvalue() == encoded.content + tar.end(len(encoded.content))
    file.seek(0)
    with tarfile.open(fileobj=file) as opened:
        second = opened.getmembers()[1]
    assert second.name == f"p-1/7.accel.npy{'' if compression == 'none' else '.blosc'}"
    assert second.offset_data == encoded.start
    content = content_range(block, compression)
    accel, motion, wear = from_range(content, seconds * RATE)
    np.testing.assert_array_equal(accel, block.accel)
    np.testing.assert_array_equal(motion, block.motion)
    np.testing.assert_array_equal(wear, block.wear)
    assert digest(content) == encoded.digest
    assert range_at(memoryview(bytes(content) + b"more")) == len(content)
    before = memoryview(encoded.content)[: encoded.start]
    assert head(parse_block_metadata(before), content, seconds * RATE) == before
    if compression == "none":
        assert range_length(seconds * RATE) == len(content)


def test_compressing_twice_gives_the_same_bytes_and_fewer() -> None:
    block = block_of(1800)
    assert encode(block, "zstd") == encode(block, "zstd")
    assert encode(block, "zstd").length < 0.8 * encode(block).length


def test_a_range_of_another_block_is_refused() -> None:
    with pytest.raises(ValueError, match=r"neither a \.npy file nor a Blosc chunk"):
        from_range(memoryview(b"x" * 100), 30)
    with pytest.raises(ValueError, match="bytes, but a block of 60 samples"):
        from_range(content_range(block_of(1), "none"), 60)
    mangled = bytearray(content_range(block_of(1), "none"))
    mangled[60] ^= 1
    with pytest.raises(ValueError, match="no <i2 array"):
        from_range(memoryview(mangled), 30)
    with pytest.raises(ValueError, match="must be 1 to 3600 whole seconds"):
        from_range(content_range(block_of(1), "none"), 31)


@pytest.mark.parametrize("claimed", [0, 127, 1 << 20, (1 << 32) - 1])
@pytest.mark.parametrize("field", [4, 12])
def test_a_blosc_header_that_claims_another_size_is_refused_before_anything_is_allocated(
    field: int, claimed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytearray(content_range(block_of(10), "zstd"))
    struct.pack_into("<I", content, field, claimed)
    monkeypatch.setattr(np, "empty", None)  # any attempt to allocate memory would fail with another error
    with pytest.raises(ValueError, match=r"Blosc chunk|bytes, but a block"):
        from_range(memoryview(content), 300)
    assert range_at(memoryview(content)) != len(content)


def test_a_damaged_blosc_chunk_is_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        decompress(memoryview(b""), 100)
    content = bytearray(content_range(block_of(10), "zstd"))
    stored = struct.unpack_from("<I", content, 12)[0]
    content[16:stored] = bytes(stored - 16)
    with pytest.raises(ValueError, match=r"damaged Blosc chunk|no <i2 array"):
        from_range(memoryview(content), 300)


def test_only_the_ends_of_an_hour_are_trimmed() -> None:
    accel = np.full((3, SAMPLES_PER_HOUR), MISSING, np.int16)
    accel[:, 100 * RATE + 7 : 200 * RATE] = 1
    accel[:, 300 * RATE : 301 * RATE - 1] = 1
    assert trim(0, accel) == slice(100, 301)


@given(st.lists(st.integers(0, 1), max_size=80), st.sampled_from([5, 10, 30]))
def test_windows_start_where_every_second_is_worn(wear: list[int], seconds: int) -> None:
    expected = [start for start in range(len(wear) - seconds + 1) if all(wear[start : start + seconds])]
    assert window_starts(np.array(wear, np.uint8), seconds).tolist() == expected


def test_a_name_that_fits_no_tar_record_is_refused() -> None:
    assert len(tar.header("r" * tar.LONGEST_FOLDER + "/400000.motion.npy", 1)) == tar.RECORD
    with pytest.raises(ValueError, match="too long"):
        tar.header("r" * (tar.LONGEST_FOLDER + 1) + "/400000.motion.npy", 1)
