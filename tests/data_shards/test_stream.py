import shutil
from pathlib import Path

import numpy as np
import pytest

from data_shards import manifest
from data_shards.block import window_starts
from data_shards.plan import OrderConfig, lanes_of, plan_epoch
from data_shards.stream import Shards, stream
from harnet.errors import HarnetError

ORDER = OrderConfig(window_seconds=10, batch=48, lanes=12, seed=1, windows_per_visit=64, shuffle_windows=100)


def batches(folder: Path, world: int, first_step: int = 0, epoch: int = 0) -> list[np.ndarray]:
    """Global batches, put together from `world` readers; each (48, 900 counts) in the order of positions."""
    contents = manifest.read(folder)
    plan = plan_epoch(contents, "train", ORDER, epoch)
    parts = []
    for rank in range(world):
        with Shards(contents) as shards:
            parts.append(list(stream(shards, plan, lanes_of(rank, world, ORDER.lanes), first_step)))
    whole = []
    for step, pieces in enumerate(zip(*parts, strict=True), start=first_step):
        positions = np.concatenate([piece.positions for piece in pieces])
        order = np.argsort(positions)
        assert positions[order].tolist() == list(range(step * ORDER.batch, (step + 1) * ORDER.batch))
        whole.append(np.concatenate([piece.windows for piece in pieces])[order])
    return whole


def test_the_number_of_readers_does_not_change_a_batch(shards: Path) -> None:
    alone = batches(shards, 1)
    for world in (2, 3, 4, 12):
        for ours, theirs in zip(batches(shards, world), alone, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_stream_from_a_step_is_the_rest_of_the_whole_stream(shards: Path) -> None:
    whole = batches(shards, 2)
    for first in (1, 7, len(whole) - 1):
        for ours, theirs in zip(batches(shards, 4, first), whole[first:], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_every_window_is_a_worn_one_of_the_shards_and_none_comes_twice(shards: Path) -> None:
    contents = manifest.read(shards)
    possible = set()
    with Shards(contents) as files:
        for row in contents.rows("train"):
            accel, _, wear = files.read(int(row))
            possible |= {
                accel[:, 30 * start : 30 * start + 300].tobytes() for start in window_starts(wear, 10).tolist()
            }
    seen = [window.tobytes() for batch in batches(shards, 1) for window in batch]
    assert len(set(seen)) == len(seen)
    assert set(seen) <= possible


def test_epochs_draw_other_windows(shards: Path) -> None:
    first, second = ({w.tobytes() for b in batches(shards, 1, epoch=epoch) for w in b} for epoch in (0, 1))
    assert first != second


def test_a_damaged_block_is_named(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    contents = manifest.read(tmp_path / "shards")
    row = int(contents.rows("train")[0])
    path = tmp_path / "shards" / contents.shards[contents.columns["shard"][row]].name
    content = bytearray(path.read_bytes())
    content[contents.columns["offset"][row] + 500] ^= 1
    path.write_bytes(content)
    with Shards(contents) as files, pytest.raises(HarnetError, match=rf"{path.name}: block .*damaged"):
        files.read(row)
    path.unlink()
    with Shards(contents) as files, pytest.raises(HarnetError, match="missing"):
        files.read(row)
