from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.shards.block import range_length, window_starts
from data_shards.shards.manifest import Manifest, ShardInfo
from data_shards.stream import expectation, keyed
from data_shards.stream.expectation import expectations, expected_windows, person_days
from data_shards.stream.plan import OrderConfig, lanes_of, plan_epoch, steps_per_epoch
from data_shards.stream.window_sampling import draw_starts, moving_sum
from harnet.errors import HarnetError

ORDER = OrderConfig(window_seconds=10, batch=32, lanes=8, seed=5, windows_per_visit=64, shuffle_windows=100)


def manifest_of(blocks: int, seed: int = 0, days: int = 3) -> Manifest:
    """A manifest without data: people with uneven days and uneven motion per hour, including short and unworn hours."""
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
    return Manifest("none", "digest", (shard,), MappingProxyType(columns), (), (), {})


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
    rows, expected = expected_windows(manifest, "train", 10, 1500)
    by_row = np.zeros(rows.max() + 1)
    by_row[rows] = expected
    total = np.zeros(rows.max() + 1)
    epochs = 1500
    for epoch in range(epochs):
        plan = plan_epoch(manifest, "train", ORDER, epoch)
        total[plan.rows] += np.diff(plan.ends, prepend=0)
    # The standard error of a mean of counts in steps of 64 is at most 32 / sqrt(1500) = 0.8; topping up adds fewer than
    # 64 windows to an epoch of 60 hours, about one per hour.
    assert np.abs(total / epochs - by_row).max() < 5


def test_a_person_day_has_1500_windows_or_all_it_has() -> None:
    manifest = manifest_of(500, seed=1)
    rows, expected = expected_windows(manifest, "train", 10, 1500)
    assert np.array_equal(np.sort(rows), manifest.rows("train"))
    day = manifest.person_day(rows)
    for one in np.unique(day):
        starts = manifest.columns["starts_10"][rows[day == one]]
        assert expected[day == one].sum() <= min(1500, starts.sum()) + 1e-6
        assert (expected[day == one] <= starts).all()


def test_two_people_have_a_day_each_and_hours_without_windows_take_no_draws() -> None:
    columns = {
        "shard": np.zeros(8, np.int32),
        "participant": np.repeat(np.arange(2, dtype=np.int32), 4),
        "hour": np.tile(np.arange(4, dtype=np.int32), 2),
        "motion_mass": np.tile(np.array([1, 1, 1, 100], np.float32), 2),
        "starts_10": np.tile(np.array([3591, 3591, 3591, 0], np.int16), 2),
    }
    manifest = Manifest("none", "", (ShardInfo("train-000000.tar", "train", 0, "", 8),), columns, (), (), {})
    rows, expected = expected_windows(manifest, "train", 10, 1500)
    assert rows.tolist() == list(range(8))
    np.testing.assert_allclose(expected, [500, 500, 500, 0] * 2)


def test_with_even_motion_and_draws_enough_every_window_is_planned_once() -> None:
    manifest = manifest_of(300)
    possible = manifest.columns["starts_10"]
    even = replace(manifest, columns={**manifest.columns, "motion_mass": possible.astype(np.float32)})
    plan = plan_epoch(even, "train", replace(ORDER, draws_per_day=200_000), 0)
    found = np.zeros(300, np.int64)
    found[plan.rows] = np.diff(plan.ends, prepend=0)
    assert np.array_equal(found, possible)
    assert (possible == 1).any(), "hours with a single window among them"


@given(st.integers(0, 3), st.integers(0, 200), st.sampled_from([1, 3, 100, 10_000]))
@settings(max_examples=20, deadline=None)
def test_lanes_and_groups_deal_every_position_once(epoch: int, seed: int, shuffle: int) -> None:
    order = replace(ORDER, shuffle_windows=shuffle)
    plan = plan_epoch(manifest_of(100, seed), "train", order, epoch)
    length = plan.steps * order.per_lane
    groups = [
        plan.bounds(lane, number)[0] + plan.shuffled(lane, number)
        for lane in range(order.lanes)
        for number in range(-(-length // order.group) + 1)
    ]
    assert np.array_equal(np.sort(np.concatenate(groups)), np.arange(plan.steps * order.batch))


def test_lanes_begin_their_groups_at_different_steps() -> None:
    order = replace(ORDER, shuffle_windows=32)
    plan = plan_epoch(manifest_of(400), "train", order, 0)
    begins = [
        {step for step in range(16) if plan.place(lane, step * order.per_lane)[1] == 0} for lane in range(order.lanes)
    ]
    assert all({0} < steps for steps in begins)
    assert max(sum(step in steps for steps in begins) for step in range(1, 16)) == 1


def test_a_position_is_traced_to_its_block() -> None:
    plan = plan_epoch(manifest_of(100), "train", ORDER, 0)
    length = plan.steps * ORDER.per_lane
    for lane, number in ((0, 0), (3, 1), (7, 0)):
        start, stop = plan.bounds(lane, number)
        line = start + plan.shuffled(lane, number)
        window = start - lane * length + np.arange(stop - start)
        step, inside = np.divmod(window, ORDER.per_lane)
        positions = step * ORDER.batch + lane * ORDER.per_lane + inside
        expected = plan.rows[np.searchsorted(plan.ends, line, side="right")]
        assert np.array_equal(plan.rows_of(positions), expected)


def test_a_day_stays_within_two_visits_of_what_it_is_due() -> None:
    manifest = manifest_of(2000, seed=4)
    rows, expected = expected_windows(manifest, "train", 10, 1500)
    _, day = np.unique(manifest.person_day(rows), return_inverse=True)
    plan = plan_epoch(manifest, "train", ORDER, 3)
    found = np.zeros(rows.max() + 1)
    found[plan.rows] = np.diff(plan.ends, prepend=0)
    off = np.bincount(day, found[rows]) - np.bincount(day, expected)
    assert np.abs(off).max() <= 2 * ORDER.windows_per_visit
    assert abs(off.sum()) <= 2 * ORDER.windows_per_visit


def test_the_rows_of_a_day_may_lie_apart() -> None:
    manifest = manifest_of(300)
    together = np.argsort(manifest.person_day(manifest.rows("train")), kind="stable")
    sorted_one = replace(manifest, columns={name: values[together] for name, values in manifest.columns.items()})
    rows, expected = expected_windows(manifest, "train", 10, 1500)
    apart = np.zeros(300)
    apart[rows] = expected
    rows, expected = expected_windows(sorted_one, "train", 10, 1500)
    assert np.array_equal(rows, np.arange(300))
    assert np.allclose(expected, apart[together])


def test_bytes_read_for_a_window_at_the_default_draws() -> None:
    """Two weeks of 40 people with very uneven motion per hour: full blocks are 667 KB, and lanes share some of them."""
    random = np.random.default_rng(0)
    blocks = 40 * 14 * 24
    clock = np.tile(np.arange(24), 40 * 14)
    columns = {
        "shard": np.zeros(blocks, np.int32),
        "participant": np.repeat(np.arange(40, dtype=np.int32), 14 * 24),
        "hour": np.tile(np.arange(14 * 24, dtype=np.int32), 40),
        "motion_mass": (random.gamma(1.2, 60, blocks) * np.where(clock < 7, 0.03, 1)).astype(np.float32),
        "starts_10": np.full(blocks, 3591, np.int16),
    }
    manifest = Manifest("none", "", (ShardInfo("train-000000.tar", "train", 0, "", blocks),), columns, (), (), {})
    plan = plan_epoch(manifest, "train", OrderConfig(window_seconds=10, batch=512, lanes=16, seed=0), 0)
    read = (len(plan.rows) + 15) * range_length(108_000)
    assert read / (plan.steps * 512) < 3000


def test_epochs_and_seeds_differ_and_repeat() -> None:
    manifest = manifest_of(200)
    one = plan_epoch(manifest, "train", ORDER, 0)
    assert np.array_equal(one.rows, plan_epoch(manifest, "train", ORDER, 0).rows)
    assert not np.array_equal(one.rows, plan_epoch(manifest, "train", ORDER, 1).rows)
    assert not np.array_equal(one.rows, plan_epoch(manifest, "train", replace(ORDER, seed=6), 0).rows)


def test_the_order_of_a_seed_never_changes() -> None:
    """A run continues its order with the next version of this package only if these numbers stay what they are."""
    row = np.arange(96)
    columns = {
        "shard": np.zeros(96, np.int32),
        "participant": (row // 32).astype(np.int32),
        "hour": (row % 32).astype(np.int32),
        "motion_mass": (1 + row * 37 % 101).astype(np.float32),
        "starts_10": np.where(row % 7, 3591, 40).astype(np.int16),
    }
    manifest = Manifest("none", "", (ShardInfo("train-000000.tar", "train", 0, "", 96),), columns, (), (), {})
    plan = plan_epoch(manifest, "train", ORDER, 2)
    assert (plan.steps, plan.total, len(plan.rows)) == (262, 8392, 79)
    assert plan.rows[:8].tolist() == [18, 23, 68, 47, 6, 13, 72, 37]
    assert plan.ends[:8].tolist() == [64, 128, 256, 320, 384, 448, 512, 576]
    assert plan.bounds(3, 1) == (3208, 3308)
    assert plan.shuffled(3, 1)[:8].tolist() == [65, 23, 69, 93, 36, 14, 84, 1]
    motion = (1 + np.arange(3600) * 37 % 101).astype(np.float32)
    wear = (np.arange(3600) % 900 > 20).astype(np.uint8)
    assert draw_starts(motion, wear, 6, 10, plan.draw_key(7)).tolist() == [131, 1357, 1589, 2078, 2130, 3459]
    assert keyed.numbers(9, 5000)[[0, 4095, 4096, 4999]].tolist() == [
        12587370737594032228,
        7504346212995174956,
        1438596497651140083,
        1439443339291128744,
    ]


def test_hours_planned_piece_by_piece_are_those_planned_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = manifest_of(300)
    whole = plan_epoch(manifest, "train", ORDER, 1)
    monkeypatch.setattr(expectation, "_PIECE", 40)
    days = person_days(manifest, "train")
    pieces = list(expectations(manifest, days, 10, 1500))
    assert 5 < len(pieces) < days.count
    assert max(len(piece.windows) for piece in pieces) <= 40
    assert [piece.days.start for piece in pieces[1:]] == [piece.days.stop for piece in pieces[:-1]]
    plan = plan_epoch(manifest, "train", ORDER, 1)
    assert np.array_equal(plan.rows, whole.rows)
    assert np.array_equal(plan.ends, whole.ends)
    monkeypatch.setattr(expectation, "_PIECE", 1)
    assert len(list(expectations(manifest, days, 10, 1500))) == days.count, "a day is never divided"
    assert steps_per_epoch(manifest, "train", ORDER) == whole.steps


def test_livelier_windows_are_drawn_more_often_and_none_twice() -> None:
    motion = np.full(3600, 0.01, np.float32)
    motion[1000:1100] = 1.0
    worn = np.ones(3600, np.uint8)
    drawn = [draw_starts(motion, worn, 50, 10, key) for key in range(40)]
    assert all(len(np.unique(starts)) == 50 and (np.diff(starts) > 0).all() for starts in drawn)
    lively = np.mean([((starts > 990) & (starts < 1100)).mean() for starts in drawn])
    # 109 starts overlap the active seconds and hold 74 % of the weight.
    assert 0.6 < lively < 0.8


def test_a_draw_keeps_the_probabilities_of_a_sequential_draw_without_replacement() -> None:
    motion = np.array([1, 2, 3, 4, 5, 6, 7, 8], np.float32)
    weight = np.convolve(motion, np.ones(5), "valid")
    count = np.zeros(4)
    draws = 20_000
    for key in range(draws):
        count[draw_starts(motion, np.ones(8, np.uint8), 2, 5, key)] += 1
    share = weight / weight.sum()
    second = [sum(share[j] * share[i] / (1 - share[j]) for j in range(4) if j != i) for i in range(4)]
    # The standard error of a share of 20,000 is at most 0.0035.
    assert np.abs(count / draws - (share + second)).max() < 0.015


def test_one_window_more_keeps_those_drawn_before() -> None:
    motion = np.random.default_rng(0).exponential(1, 600).astype(np.float32)
    drawn = [set(draw_starts(motion, np.ones(600, np.uint8), count, 10, key=3).tolist()) for count in range(1, 100)]
    assert all(len(fewer) + 1 == len(more) and fewer < more for fewer, more in pairwise(drawn))


def test_equal_random_numbers_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = (np.arange(1000) % 7).astype(np.uint64)
    monkeypatch.setattr(keyed, "numbers", lambda key, count: drawn[:count])
    assert keyed.permutation(0, 1000).tolist() == sorted(range(1000), key=lambda index: index % 7)


@given(st.lists(st.booleans(), min_size=1, max_size=200), st.integers(1, 60), st.sampled_from([5, 10, 30]))
@settings(max_examples=60, deadline=None)
def test_only_worn_windows_are_drawn(worn: list[bool], count: int, width: int) -> None:
    wear = np.array(worn, np.uint8)
    starts = draw_starts(np.ones(len(wear), np.float32), wear, count, width, key=7)
    possible = window_starts(wear, width)
    assert len(starts) == min(count, len(possible))
    assert set(starts.tolist()) <= set(possible.tolist())


@given(st.integers(1, 60), st.integers(60, 200))
@settings(max_examples=30, deadline=None)
def test_moving_sums_are_sums_of_neighbours(width: int, length: int) -> None:
    values = np.random.default_rng(width).random(length).astype(np.float32)
    expected = np.convolve(values, np.ones(width), "valid")
    np.testing.assert_allclose(moving_sum(values, width), expected, rtol=1e-5)


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
    with pytest.raises(HarnetError, match="split 'heldout' has 0 windows"):
        plan_epoch(manifest_of(1, seed=2), "heldout", ORDER, 0)
