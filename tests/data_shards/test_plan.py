from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.manifest import Manifest, ShardInfo
from data_shards.plan import (
    OrderConfig,
    draw_starts,
    expected_windows,
    lanes_of,
    plan_epoch,
    steps_per_epoch,
)
from harnet.errors import HarnetError

ORDER = OrderConfig(window_seconds=10, batch=32, lanes=8, seed=5, windows_per_visit=64, shuffle_windows=100)


def manifest_of(blocks: int, seed: int = 0, days: int = 3) -> Manifest:
    """A manifest without data: people of uneven days, hours of uneven motion, short and unworn ones among them."""
    random = np.random.default_rng(seed)
    starts = random.choice([0, 1, 40, 3591], blocks, p=[0.1, 0.1, 0.2, 0.6])
    columns = {
        "shard": np.zeros(blocks, np.int32),
        "participant": random.integers(0, max(1, blocks // 24), blocks).astype(np.int32),
        "hour": random.integers(0, 24 * days, blocks).astype(np.int32),
        "motion_mass": random.exponential(20, blocks).astype(np.float32),
        "starts_10": starts.astype(np.int16),
    }
    shard = ShardInfo("train-000000.tar", "train", 0, "", blocks)
    return Manifest(Path("none"), "digest", (shard,), MappingProxyType(columns), (), (), {})


@given(st.integers(50, 400), st.integers(0, 10_000), st.integers(0, 5), st.sampled_from([1, 32, 256, 4000]))
@settings(max_examples=40, deadline=None)
def test_an_epoch_has_the_same_steps_and_no_hour_gives_more_than_it_has(
    blocks: int, seed: int, epoch: int, per_visit: int
) -> None:
    manifest, order = manifest_of(blocks, seed), replace(ORDER, seed=seed, windows_per_visit=per_visit)
    plan = plan_epoch(manifest, "train", order, epoch)
    assert plan.steps == steps_per_epoch(manifest, "train", order)
    assert plan.total >= plan.steps * order.batch
    assert len(np.unique(plan.rows)) == len(plan.rows)
    counts = np.diff(plan.ends, prepend=0)
    assert (counts > 0).all()
    assert (counts <= manifest.columns["starts_10"][plan.rows]).all()


def test_the_expected_windows_of_every_hour_are_kept() -> None:
    manifest = manifest_of(60, seed=3)
    rows = manifest.rows("train")
    expected = expected_windows(manifest, rows, ORDER)
    total = np.zeros(len(rows))
    epochs = 1500
    for epoch in range(epochs):
        plan = plan_epoch(manifest, "train", ORDER, epoch)
        total[plan.rows] += np.diff(plan.ends, prepend=0)
    # Standard error of a mean of counts in steps of 64 is at most 32 / sqrt(1500) = 0.8; topping up adds less than 64
    # windows to an epoch of 60 hours, about one each.
    assert np.abs(total / epochs - expected).max() < 5


def test_a_person_day_has_1500_windows_or_all_it_has() -> None:
    manifest = manifest_of(500, seed=1)
    rows = manifest.rows("train")
    day = manifest.person_day(rows)
    expected = expected_windows(manifest, rows, ORDER)
    for one in np.unique(day):
        starts = manifest.columns["starts_10"][rows[day == one]]
        assert expected[day == one].sum() <= min(1500, starts.sum()) + 1e-6
        assert (expected[day == one] <= starts).all()


@given(st.integers(0, 3), st.integers(0, 200))
@settings(max_examples=20, deadline=None)
def test_lanes_and_groups_deal_every_position_once(epoch: int, seed: int) -> None:
    plan = plan_epoch(manifest_of(100, seed), "train", ORDER, epoch)
    length = plan.steps * ORDER.per_lane
    groups = [plan.group(lane, number) for lane in range(ORDER.lanes) for number in range(-(-length // 100))]
    positions = np.concatenate([positions[order] for positions, order in groups])
    assert np.array_equal(np.sort(positions), np.arange(plan.steps * ORDER.batch))


def test_epochs_and_seeds_differ_and_repeat() -> None:
    manifest = manifest_of(200)
    one = plan_epoch(manifest, "train", ORDER, 0)
    assert np.array_equal(one.rows, plan_epoch(manifest, "train", ORDER, 0).rows)
    assert not np.array_equal(one.rows, plan_epoch(manifest, "train", ORDER, 1).rows)
    assert not np.array_equal(one.rows, plan_epoch(manifest, "train", replace(ORDER, seed=6), 0).rows)


def test_livelier_windows_are_drawn_more_often_and_none_twice() -> None:
    motion = np.full(3600, 0.01, np.float32)
    motion[1000:1100] = 1.0
    candidates = np.arange(3591)
    drawn = [draw_starts(candidates, motion, 50, ORDER, epoch, row=0) for epoch in range(40)]
    assert all(len(np.unique(starts)) == 50 for starts in drawn)
    lively = np.mean([((starts > 990) & (starts < 1100)).mean() for starts in drawn])
    # 109 starts touch the lively seconds and hold 74 % of the weight.
    assert 0.6 < lively < 0.8


def test_lanes_are_dealt_completely() -> None:
    for world in (1, 2, 3, 4, 6):
        dealt = sorted(lane for rank in range(world) for lane in lanes_of(rank, world, 12))
        assert dealt == list(range(12))
    with pytest.raises(HarnetError, match="evenly"):
        lanes_of(0, 5, 12)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch": 33}, "not a multiple of lanes"),
        ({"batch": 0}, "batch is 0"),
        ({"window_seconds": 7}, "window_seconds is 7"),
        ({"seed": -1}, "seed is -1"),
        ({"windows_per_visit": 0}, "windows_per_visit is 0"),
    ],
)
def test_wrong_settings_are_named(change: dict[str, int], says: str) -> None:
    with pytest.raises(HarnetError, match=says):
        replace(ORDER, **change)


def test_too_little_for_one_batch_is_said() -> None:
    with pytest.raises(HarnetError, match="fewer than one global batch"):
        steps_per_epoch(manifest_of(1, seed=2), "train", replace(ORDER, batch=8000))
