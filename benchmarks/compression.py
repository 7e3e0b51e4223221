"""Which compression shards should use: bytes to read versus cores to decompress them.

For each codec, the blocks are in one file in the page cache. A visit reads one by offset, checks its hash, decompresses
it and cuts 256 ten-second windows into a batch, as the stream does with default settings, on one core. The last two
columns are what a node with 8 GPUs, each taking 100,000 windows/s, needs from its file system and its processor.

    python -m benchmarks.compression [--cohort cohort.zarr]
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.report import RESULTS, machine, rate
from data_shards.cohort.store import Cohort
from data_shards.layout import RATE
from data_shards.quality.policy import POLICIES
from data_shards.shards.block import digest, encode, from_range, range_at, range_length, window_starts
from data_shards.shards.compression import BLOSC_BLOCK, ZSTD_LEVEL, compress
from data_shards.shards.shard_plan import ShardOptions, plan_shards
from data_shards.shards.tar import RECORD, padded
from data_shards.shards.writer import read_blocks
from data_shards.synthetic.make import synthesise
from data_shards.synthetic.synth_options import SynthOptions

CODECS = (
    ("none", 0, 0),
    ("lz4", 1, 0),
    ("lz4", 5, 0),
    ("zstd", 1, 0),
    ("zstd", ZSTD_LEVEL, BLOSC_BLOCK),
    ("zstd", 3, 0),
    ("zstd", 5, 0),
    ("zstd", 9, 0),
)
"""Codec, level, and block size of Blosc in bytes (0: its own choice). The second zstd is the one that shards use."""
VISIT = 256
WIDTH = 10 * RATE
NODE_WINDOWS = 8 * 100_000


@dataclass(frozen=True)
class Row:
    """Results of one codec."""

    codec: str
    """Name, level and, if not chosen by Blosc, its block size."""
    kilobytes_a_block: float
    """Mean size of a block, in 1,000 bytes."""
    write_mb_s: float
    """Signal compressed per second on one core, MB; 0 without a codec."""
    windows_s: float
    """Windows per second on one core, from page cache to batch."""
    bytes_a_window: float
    """Bytes read per window delivered."""
    node_gb_s: float
    """GB/s that the file system must deliver to a node."""
    node_cores: float
    """Cores of the node that are busy with this alone."""


def ranges(cohort: Cohort, blocks: int) -> tuple[list[bytes], list[int]]:
    """The first blocks of a cohort that fill most of an hour, uncompressed, and their samples."""
    shards = plan_shards(cohort, ShardOptions(quality=POLICIES["none"])).shards
    found, samples = [], []
    for block in (block for shard in shards for piece in shard.pieces for block in read_blocks(cohort, piece)):
        if len(window_starts(block.wear, 10)) >= VISIT:
            encoded = encode(block)
            found.append(encoded.content[encoded.start : encoded.start + encoded.length])
            samples.append(block.accel.shape[1])
        if len(found) == blocks:
            break
    return found, samples


def packed(plain: bytes, samples: int, codec: str, level: int, block_bytes: int) -> bytes:
    """A block with its signal compressed."""
    if codec == "none":
        return plain
    seconds = samples // RATE
    tail = RECORD + padded(128 + 4 * seconds) + RECORD + 128 + seconds
    signal = compress(plain[: 128 + 6 * samples], codec, level, block_bytes)
    content = signal + bytes(padded(len(signal)) - len(signal)) + plain[len(plain) - tail :]
    assert range_at(memoryview(content)) == len(content)
    return content


def visits(path: Path, places: list[tuple[int, int, int]], samples: list[int]) -> Iterator[NDArray[np.int16]]:
    """Read windows of every block of the file into a reused batch."""
    random, batch = np.random.default_rng(0), np.empty((VISIT, 3, WIDTH), np.int16)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        for (offset, length, expected), n in zip(places, samples, strict=True):
            content = os.pread(descriptor, length, offset)
            assert digest(content) == expected
            accel, _, wear = from_range(memoryview(content), n)
            starts = random.choice(window_starts(wear, 10), VISIT, replace=False, shuffle=False) * RATE
            windows = np.lib.stride_tricks.sliding_window_view(accel, WIDTH, axis=1)
            for place, start in enumerate(starts.tolist()):
                batch[place] = windows[:, start]
            yield batch
    finally:
        os.close(descriptor)


def measure(
    plain: list[bytes], samples: list[int], codec: str, level: int, block_bytes: int, folder: Path, repeats: int
) -> Row:
    """Measure one row of the table."""
    path, places, began = folder / "ranges", [], time.perf_counter()
    contents = [packed(content, n, codec, level, block_bytes) for content, n in zip(plain, samples, strict=True)]
    seconds = time.perf_counter() - began
    with path.open("wb") as file:
        for content in contents:
            places.append((file.tell(), len(content), digest(content)))
            file.write(content)
    size = sum(map(len, contents)) / len(contents)
    windows = rate(lambda: sum(len(batch) for batch in visits(path, places, samples)), repeats)
    path.unlink()
    return Row(
        codec=codec if codec == "none" else f"{codec} {level}" + (f", {block_bytes >> 10} KB" if block_bytes else ""),
        kilobytes_a_block=size / 1e3,
        write_mb_s=0.0 if codec == "none" else sum(map(range_length, samples)) / 1e6 / seconds,
        windows_s=windows,
        bytes_a_window=size / VISIT,
        node_gb_s=size / VISIT * NODE_WINDOWS / 1e9,
        node_cores=NODE_WINDOWS / windows,
    )


def main() -> None:
    """Measure, print the table and save it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, help="recordings to measure on; default: synthetic ones")
    parser.add_argument("--blocks", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        cohort = (
            Cohort.open(arguments.cohort) if arguments.cohort else synthesise(folder / "c.zarr", 2, SynthOptions(2))
        )
        plain, samples = ranges(cohort, arguments.blocks)
        rows = [measure(plain, samples, *codec, folder, arguments.repeats) for codec in CODECS]
    data = "recordings" if arguments.cohort else "synthetic"
    print(f"\ncompression ({len(plain)} person-hours, {data}; medians, one core)")
    print("                kB a block  write MB/s   windows/s  bytes a window  GB/s a node  cores a node")
    for row in rows:
        print(
            f"  {row.codec:<12}  {row.kilobytes_a_block:>10.1f}  {row.write_mb_s:>10.0f}  {row.windows_s:>10,.0f}"
            f"  {row.bytes_a_window:>14.0f}  {row.node_gb_s:>11.2f}  {row.node_cores:>12.1f}"
        )
    about = machine("numcodecs", "xxhash") | {"blocks": len(plain), "data": data}
    path = RESULTS / f"compression-{data}.json"
    path.write_text(json.dumps({"rows": [asdict(row) for row in rows], "on": about}, indent=2) + "\n")
    print(f"  saved to {path}")


if __name__ == "__main__":
    main()
