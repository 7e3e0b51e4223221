"""The order of an epoch as a pure function of (manifest, settings, epoch); reads neither data nor the clock.

1. Each person-day is allotted `draws_per_day` windows, or its number of window starts if that is smaller, distributed
   over its hours in proportion to motion mass.
2. A visit to an hour takes `windows_per_visit` windows. The number of visits in this epoch is the hour's expected draws
   / windows per visit, randomly rounded up or down so that the expectation is preserved. So still hours are visited
   rarely, and few bytes are read per delivered window.
3. The visited hours are permuted and concatenated: the epoch is one long line of windows.
4. The line is cut into L lanes of equal length; the remainder at its end is dropped, other hours in each epoch.
   Every global batch takes batch / L windows from each lane, and a lane shuffles its windows within groups of
   `shuffle_windows`.

The order does not depend on rank or worker: they only select which lanes a process serves (`lanes_of`). So a run can
be resumed mid-epoch on another number of processes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import SECONDS_PER_HOUR
from data_shards.shards.manifest import WINDOW_SECONDS, Manifest
from data_shards.stream import keyed
from data_shards.stream.expectation import due_windows, expectations, person_days, whole
from harnet.errors import HarnetError

_STREAM_VISITS, _STREAM_DAYS, _STREAM_ORDER, _STREAM_STARTS, _STREAM_SHUFFLE = range(5)
"""Ids of the independent random streams derived from one seed."""


@dataclass(frozen=True)
class OrderConfig:
    """Settings that determine the order of windows, together with the manifest."""

    window_seconds: int
    """Window length: 5, 10 or 30 s."""
    batch: int
    """Global batch size: windows per step over all ranks."""
    lanes: int
    """Number of lanes; must divide the global batch and be a multiple of every number of readers the run will use."""
    seed: int
    """Seed of the order and of the draws."""
    draws_per_day: int = 1500
    """Windows per person-day and epoch (Yuan et al. 2024: 1,500 of ten seconds)."""
    windows_per_visit: int = 256
    """Windows taken per visit to an hour."""
    shuffle_windows: int = 2048
    """Size of a lane's shuffle groups in windows, rounded up to a multiple of what a lane gives to a batch. A process
    holds one group of each of its lanes in memory."""

    def __post_init__(self) -> None:
        if self.window_seconds not in WINDOW_SECONDS:
            raise HarnetError(f"window_seconds is {self.window_seconds}; it must be one of {WINDOW_SECONDS}")
        for name in ("batch", "lanes", "draws_per_day", "windows_per_visit", "shuffle_windows"):
            if getattr(self, name) < 1:
                raise HarnetError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch % self.lanes:
            raise HarnetError(f"the global batch of {self.batch} is not a multiple of lanes = {self.lanes}")
        if self.seed < 0:
            raise HarnetError(f"seed is {self.seed}; it must not be negative")

    @property
    def per_lane(self) -> int:
        """Windows that a lane contributes to each global batch."""
        return self.batch // self.lanes

    @property
    def group(self) -> int:
        """Windows in a shuffle group: a batch never takes from two groups of a lane."""
        return -(-self.shuffle_windows // self.per_lane) * self.per_lane

    def shift(self, lane: int) -> int:
        """Windows by which a lane's first group is shorter, so that not all lanes load a group in the same step."""
        return lane * (self.group // self.per_lane) // self.lanes * self.per_lane


@dataclass(frozen=True)
class EpochPlan:
    """The order of one epoch. Positions count windows on the line, 0 to `total` - 1."""

    rows: NDArray[np.int32]
    """(V,) manifest rows in the order of the line; each at most once."""
    ends: NDArray[np.int64]
    """(V,) position after the last window of each visit."""
    steps: int
    """Global batches in the epoch; the same for every epoch of a manifest and configuration."""
    epoch: int
    """Epoch number, from 0."""
    config: OrderConfig
    """Settings of the order."""

    @property
    def total(self) -> int:
        """Windows on the line."""
        return int(self.ends[-1])

    @property
    def dropped(self) -> int:
        """Windows at the end of the line that are not part of any global batch."""
        return self.total - self.steps * self.config.batch

    def start(self, visit: int) -> int:
        """Position of a visit's first window."""
        return int(self.ends[visit - 1]) if visit else 0

    def count(self, visit: int) -> int:
        """Number of windows of a visit."""
        return int(self.ends[visit]) - self.start(visit)

    def bounds(self, lane: int, number: int) -> tuple[int, int]:
        """Start and end position of a lane's `number`-th shuffle group."""
        length, begin = self.steps * self.config.per_lane, number * self.config.group - self.config.shift(lane)
        start, stop = (min(max(edge, 0), length) for edge in (begin, begin + self.config.group))
        return lane * length + start, lane * length + stop

    def place(self, lane: int, window: int) -> tuple[int, int]:
        """Group from which a lane's `window`-th window is delivered, and its index in the group's shuffled order."""
        number, offset = divmod(window + self.config.shift(lane), self.config.group)
        return number, offset if number else window

    def visits(self, start: int, stop: int) -> range:
        """The visits that cover positions `start` to `stop` - 1."""
        if start == stop:
            return range(0)
        first, last = np.searchsorted(self.ends, (start, stop - 1), side="right")
        return range(int(first), int(last) + 1)

    def shuffled(self, lane: int, number: int) -> NDArray[np.int64]:
        """Order in which the positions of a lane's `number`-th group are delivered, relative to its first."""
        start, stop = self.bounds(lane, number)
        key = keyed.key(self.config.seed, self.epoch, _STREAM_SHUFFLE, lane, number)
        return keyed.permutation(key, stop - start)

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int32]:
        """(n,) manifest rows of the blocks planned for the windows at these positions (`LaneBatch.positions`).

        Slow; for messages only. Windows that replace those of a damaged block come from another block.
        """
        config = self.config
        rows = np.empty(len(positions), np.int32)
        for index, position in enumerate(positions.tolist()):
            step, place = divmod(position, config.batch)
            lane, inside = divmod(place, config.per_lane)
            number, offset = self.place(lane, step * config.per_lane + inside)
            line = self.bounds(lane, number)[0] + self.shuffled(lane, number)[offset]
            rows[index] = self.rows[np.searchsorted(self.ends, line, side="right")]
        return rows

    def draw_key(self, row: int) -> int:
        """Random key for drawing windows from a block in this epoch."""
        return keyed.key(self.config.seed, self.epoch, _STREAM_STARTS, row)


def steps_per_epoch(manifest: Manifest, split: str, config: OrderConfig) -> int:
    """Global batches in every epoch of a split.

    Raises:
        HarnetError: the split has less than one global batch of windows of that length.
    """
    return _steps(due_windows(manifest, split, config.window_seconds, config.draws_per_day), manifest, split, config)


def _steps(due: int, manifest: Manifest, split: str, config: OrderConfig) -> int:
    if due < config.batch:
        raise HarnetError(
            f"{manifest.where}: split '{split}' has {due} windows of {config.window_seconds} s per epoch, fewer "
            f"than one global batch of {config.batch}; reduce the batch, or add recordings"
        )
    return due // config.batch


def plan_epoch(manifest: Manifest, split: str, config: OrderConfig, epoch: int) -> EpochPlan:
    """The order of epoch number `epoch` over the blocks of a split.

    Raises:
        HarnetError: the split has less than one global batch of windows of that length.
    """
    rows, counts, due = _visits(manifest, split, config, epoch)
    steps = _steps(due, manifest, split, config)
    key = keyed.key(config.seed, epoch, _STREAM_ORDER)
    order = _shuffled(key, rows)
    rows, counts = rows[order], counts[order]
    short = steps * config.batch - int(counts.sum(dtype=np.int64))
    if short > 0:
        rows, counts = _topped_up(manifest, split, config, key, rows, counts, short)
    return EpochPlan(rows, np.cumsum(counts, dtype=np.int64), steps, epoch, config)


def _shuffled(key: int, rows: NDArray[np.int32]) -> NDArray[np.int64]:
    """A random order of rows; ties, if any, keep their original order."""
    return np.argsort(keyed.hashes(key, rows.astype(np.int64)), kind="stable")


def _visits(
    manifest: Manifest, split: str, config: OrderConfig, epoch: int
) -> tuple[NDArray[np.int32], NDArray[np.int16], int]:
    """Rows visited in an epoch, the number of windows of each, and the expected windows of any epoch.

    Each hour's expected windows are rounded down or up to whole visits, preserving the expectation, by systematic
    sampling (Madow 1949): person-days are placed on a line in random order, each hour as long as its probability of
    being rounded up, and a comb of unit spacing with one random offset selects. So a day's windows differ from their
    expectation by at most two visits, and those of the epoch by at most one. An hour's last visit ends at its last
    window start.
    """
    per_visit = min(config.windows_per_visit, SECONDS_PER_HOUR)
    days = person_days(manifest, split)
    low = np.empty(len(days.rows), np.int16)
    chance = np.empty(len(days.rows), np.float32)
    totals = np.zeros(days.count)
    due = 0.0
    for piece in expectations(manifest, days, config.window_seconds, config.draws_per_day):
        starts = piece.starts.astype(np.int64)
        down = np.floor(piece.windows / per_visit).astype(np.int64) * per_visit
        up = np.minimum(down + per_visit, starts)
        low[piece.hours] = down
        chance[piece.hours] = np.where(up > down, (piece.windows - down) / np.maximum(up - down, 1), 0.0)
        totals[piece.days] = np.add.reduceat(chance[piece.hours], piece.firsts, dtype=np.float64)
        due += float(piece.windows.sum())
    phases = _phases(totals, config.seed, epoch)
    rows, counts = [], []
    for piece in expectations(manifest, days, config.window_seconds, config.draws_per_day):
        line = np.cumsum(chance[piece.hours], dtype=np.float64)
        before = line[piece.firsts] - chance[piece.hours][piece.firsts]
        teeth = np.floor(line + np.repeat(phases[piece.days] - before, piece.lengths))
        reached = np.concatenate([[0.0], teeth[:-1]])
        reached[piece.firsts] = 0.0
        windows = np.where(teeth > reached, np.minimum(low[piece.hours] + per_visit, piece.starts), low[piece.hours])
        visited = windows > 0
        rows.append(days.rows[piece.hours][visited])
        counts.append(windows[visited].astype(np.int16))
    if not rows:
        return np.empty(0, np.int32), np.empty(0, np.int16), 0
    return np.concatenate(rows), np.concatenate(counts), whole(due)


def _phases(totals: NDArray[np.float64], seed: int, epoch: int) -> NDArray[np.float64]:
    """(D,) position of each person-day's start relative to the comb."""
    order = _shuffled(keyed.key(seed, epoch, _STREAM_DAYS), np.arange(len(totals), dtype=np.int32))
    ends = np.cumsum(totals[order])
    begin = np.empty_like(totals)
    begin[order] = np.concatenate([[0.0], ends[:-1]]) if len(ends) else ends
    begin += keyed.uniform(keyed.key(seed, epoch, _STREAM_VISITS))
    begin -= np.floor(begin)
    return begin


def _topped_up(
    manifest: Manifest,
    split: str,
    config: OrderConfig,
    key: int,
    rows: NDArray[np.int32],
    counts: NDArray[np.int16],
    short: int,
) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
    """Add windows to the first hours if rounding left fewer than the fixed number of steps needs."""
    column = manifest.columns[f"starts_{config.window_seconds}"]
    room = column[rows] - counts
    if int(room.sum(dtype=np.int64)) < short:
        others = np.setdiff1d(manifest.rows(split).astype(np.int32), rows)
        others = others[column[others] > 0]
        others = others[_shuffled(key, others)]
        rows, counts = np.concatenate([rows, others]), np.concatenate([counts, np.zeros(len(others), np.int16)])
        room = column[rows] - counts
    before = np.cumsum(room, dtype=np.int64) - room
    counts = (counts + np.clip(short - before, 0, room)).astype(np.int16)
    return rows[counts > 0], counts[counts > 0]


def lanes_of(rank: int, world: int, lanes: int) -> range:
    """The lanes served by reader `rank` of `world` readers.

    Raises:
        HarnetError: the lanes cannot be divided evenly.
    """
    if lanes % world:
        raise HarnetError(
            f"data.lanes = {lanes} cannot be divided evenly over {world} readers (processes x loader workers); "
            f"choose a multiple of {world}"
        )
    return range(rank, lanes, world)
