import logging
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.shards import manifest
from data_shards.shards.block import window_starts
from data_shards.stream.plan import OrderConfig, lanes_of, plan_epoch
from data_shards.stream.reader import LaneReader
from data_shards.stream.shard_files import Shards
from data_shards.stream.storage import LocalStorage
from harnet.errors import HarnetError

ORDER = OrderConfig(window_seconds=10, batch=48, lanes=12, seed=1, windows_per_visit=64, shuffle_windows=100)


def batches(
    folder: Path, world: int, first_step: int = 0, epoch: int = 0, order: OrderConfig = ORDER, max_damaged: float = 0.0
) -> list[np.ndarray]:
    """Global batches assembled from `world` readers; each (batch, 3, 300 counts) in order of position."""
    contents = manifest.read(folder)
    plan = plan_epoch(contents, "train", order, epoch)
    parts = []
    for rank in range(world):
        with Shards(contents) as shards:
            reader = LaneReader(shards, order, lanes_of(rank, world, order.lanes), max_damaged)
            parts.append(list(reader.batches(plan, first_step)))
    whole = []
    for step, pieces in enumerate(zip(*parts, strict=True), start=first_step):
        positions = np.concatenate([piece.positions for piece in pieces])
        places = np.argsort(positions)
        assert positions[places].tolist() == list(range(step * order.batch, (step + 1) * order.batch))
        whole.append(np.concatenate([piece.windows for piece in pieces])[places])
    return whole


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    shutil.copytree(shards, tmp_path / "shards")
    return tmp_path / "shards"


def damage(folder: Path, row: int) -> str:
    """Flip a bit of a block and return its name."""
    contents = manifest.read(folder)
    path = folder / contents.shards[contents.columns["shard"][row]].name
    content = bytearray(path.read_bytes())
    content[contents.columns["offset"][row] + 500] ^= 1
    path.write_bytes(content)
    return contents.name_of(row)


@given(
    world=st.sampled_from([1, 2, 3, 4, 6, 12]),
    per_lane=st.sampled_from([1, 3, 4, 7]),
    shuffle=st.sampled_from([1, 40, 100, 5000]),
    visit=st.sampled_from([1, 16, 64, 1000]),
    seed=st.integers(0, 3),
    first=st.integers(0, 10),
)
@settings(max_examples=12, deadline=None)
def test_batches_depend_on_seed_epoch_and_step_alone(
    shards: Path, world: int, per_lane: int, shuffle: int, visit: int, seed: int, first: int
) -> None:
    order = replace(
        ORDER, batch=12 * per_lane, seed=seed, shuffle_windows=shuffle, windows_per_visit=visit, draws_per_day=400
    )
    alone = batches(shards, 1, order=order)
    assert len({window.tobytes() for batch in alone for window in batch}) == len(alone) * order.batch
    together = batches(shards, world, first, order=order)
    assert len(together) == len(alone) - min(first, len(alone))
    for ours, theirs in zip(together, alone[first:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_every_window_is_a_worn_one_of_the_shards(shards: Path) -> None:
    contents = manifest.read(shards)
    possible = set()
    with Shards(contents) as files:
        for row in contents.rows("train"):
            accel, _, wear = files.read(int(row))
            possible |= {
                accel[:, 30 * start : 30 * start + 300].tobytes() for start in window_starts(wear, 10).tolist()
            }
    for visit in (4, 64, 2000):
        seen = [
            window.tobytes()
            for batch in batches(shards, 1, order=replace(ORDER, windows_per_visit=visit))
            for window in batch
        ]
        assert len(set(seen)) == len(seen)
        assert set(seen) <= possible


def test_epochs_draw_other_windows(shards: Path) -> None:
    first, second = ({w.tobytes() for b in batches(shards, 1, epoch=epoch) for w in b} for epoch in (0, 1))
    assert first != second


def test_a_given_batch_is_filled_over_and_over(shards: Path) -> None:
    contents = manifest.read(shards)
    plan = plan_epoch(contents, "train", ORDER, 0)
    out = np.empty((48, 3, 300), np.int16)
    with Shards(contents) as files:
        reader = LaneReader(files, ORDER, range(12))
        for given_one, fresh in zip(reader.batches(plan, out=out), batches(shards, 1), strict=True):
            assert given_one.windows is out
            np.testing.assert_array_equal(out, fresh)


def test_an_epoch_reads_each_visit_once_but_where_lanes_meet(shards: Path) -> None:
    contents = manifest.read(shards)
    plan = plan_epoch(contents, "train", ORDER, 0)
    with Shards(contents) as files:
        read = sum(batch.blocks for batch in LaneReader(files, ORDER, range(12)).batches(plan))
    assert read <= len(plan.rows) + ORDER.lanes - 1


class Watched(LocalStorage):
    """Lists which ranges were announced and read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.announced: list[tuple[str, int, int]] = []
        self.read: list[tuple[str, int, int]] = []

    def prefetch(self, name: str, offset: int, length: int) -> None:
        self.announced.append((name, offset, length))

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        self.read.append((name, offset, len(out)))
        assert self.announced.count(self.read[-1]) >= self.read.count(self.read[-1]), "announced before it is read"
        super().read_into(name, offset, out)


@pytest.mark.parametrize("first", [0, 2])
def test_what_is_read_was_announced_and_nothing_else_was(shards: Path, first: int) -> None:
    contents = manifest.read(shards)
    order = replace(ORDER, batch=8, lanes=2, draws_per_day=60, windows_per_visit=4, shuffle_windows=40)
    plan = plan_epoch(contents, "train", order, 0)
    storage, ahead = Watched(shards), []
    with Shards(contents, storage) as files:
        for _ in LaneReader(files, order, range(2)).batches(plan, first):
            ahead.append(len(storage.announced) - len(storage.read))
    assert sorted(storage.announced) == sorted(storage.read)
    assert max(ahead) > 0, "the next group is announced while this one is delivered"
    assert ahead[-1] == 0


@pytest.mark.parametrize("kind", ["flipped", "cut"])
def test_a_damaged_block_is_named(copied: Path, kind: str) -> None:
    contents = manifest.read(copied)
    row = int(contents.rows("train")[0])
    path = copied / contents.shards[contents.columns["shard"][row]].name
    if kind == "flipped":
        damage(copied, row)
    else:
        path.write_bytes(path.read_bytes()[: contents.columns["offset"][row] + 100])
    says = {"flipped": "do not match the manifest", "cut": "ends at byte"}[kind]
    with (
        Shards(contents) as files,
        pytest.raises(HarnetError, match=rf"{path.name}: block .*damaged: .*{says}.*verify"),
    ):
        files.read(row)


def test_a_damaged_block_is_skipped_alike_by_all_and_batches_stay_whole(
    copied: Path, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    contents = manifest.read(copied)
    plan = plan_epoch(contents, "train", ORDER, 0)
    row = int(plan.rows[3])
    name = damage(copied, row)
    with caplog.at_level(logging.WARNING):
        alone = batches(copied, 1, max_damaged=1.0)
    assert [record.getMessage() for record in caplog.records if name in record.getMessage()] == [
        caplog.records[0].getMessage()
    ]
    sound = batches(shards, 1)
    changed = sum((ours != theirs).any(axis=(1, 2)).sum() for ours, theirs in zip(alone, sound, strict=True))
    assert changed == min(plan.count(3), plan.steps * ORDER.batch - plan.start(3))
    known = {window.tobytes() for batch in sound for window in batch}
    assert {window.tobytes() for batch in alone for window in batch} <= known
    for world, first in ((3, 0), (12, 5)):
        for ours, theirs in zip(batches(copied, world, first, max_damaged=1.0), alone[first:], strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_damaged_blocks_are_counted_and_too_many_stop_the_run(copied: Path) -> None:
    contents = manifest.read(copied)
    plan = plan_epoch(contents, "train", ORDER, 0)
    names = [damage(copied, int(row)) for row in plan.rows[:2]]
    with Shards(contents) as files:
        found = list(LaneReader(files, ORDER, range(12), max_damaged=1.0).batches(plan))
    # Every lane that takes windows from a damaged block counts it.
    assert 2 <= sum(batch.damaged for batch in found) <= sum(batch.blocks for batch in found)
    allowed = 1.5 / len(plan.rows)
    with Shards(contents) as files, pytest.raises(HarnetError, match=r"2 of \d+ block reads found damage") as error:
        list(LaneReader(files, ORDER, range(12), max_damaged=allowed).batches(plan))
    assert any(name in str(error.value) for name in names)


def test_no_sound_block_at_all_is_said(copied: Path) -> None:
    for path in copied.glob("*.tar"):
        path.write_bytes(b"")
    with pytest.raises(HarnetError, match="contains no intact block"):
        batches(copied, 1, max_damaged=1.0)
