"""The order of an epoch as a pure function of (manifest, settings, epoch): nothing here reads data or the clock.

1. Each person-day has `draws_per_day` windows, or as many as it has window starts if those are fewer. They are
   spread over its hours in proportion to motion mass.
2. An hour is visited for `windows_per_visit` windows at a time. How many visits it gets in this epoch is its
   expected draws / windows per visit, rounded up or down at random so that the expectation is kept. So still hours
   come up rarely, and few bytes are read for each window delivered.
3. The visited hours are permuted and laid end to end: the epoch is one long line of windows.
4. The line is cut into L lanes of equal length; what is left over at its end is dropped, other hours in every epoch.
   Every global batch takes batch / L windows from each lane, and a lane shuffles its windows within groups of
   `shuffle_windows`.

Rank and worker appear nowhere: they only choose which lanes a process serves (`lanes_of`). That is what makes a run
resumable, mid-epoch, on another number of processes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_shards.manifest import WINDOW_SECONDS, Manifest
from harnet.errors import HarnetError

_STREAM_VISITS, _STREAM_ORDER, _STREAM_STARTS, _STREAM_SHUFFLE = range(4)
"""Names of the independent random streams derived from one seed."""


@dataclass(frozen=True)
class OrderConfig:
    """What decides the order of windows, besides the manifest."""

    window_seconds: int
    """Length of a window: 5, 10 or 30 s."""
    batch: int
    """Global batch: windows in a step over all processes."""
    lanes: int
    """Divides the global batch, and is divided by every number of processes that the run shall ever use."""
    seed: int
    """Of the order and of the draws."""
    draws_per_day: int = 1500
    """Windows per person-day and epoch (Yuan et al. 2024: 1,500 of ten seconds)."""
    windows_per_visit: int = 256
    """Windows taken from an hour once it is read."""
    shuffle_windows: int = 2048
    """Size of the groups in which a lane shuffles; a process holds lanes / world size of them in memory."""

    def __post_init__(self) -> None:
        if self.window_seconds not in WINDOW_SECONDS:
            raise HarnetError(f"window_seconds is {self.window_seconds}; one of {WINDOW_SECONDS}")
        for name in ("batch", "lanes", "draws_per_day", "windows_per_visit", "shuffle_windows"):
            if getattr(self, name) < 1:
                raise HarnetError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch % self.lanes:
            raise HarnetError(f"the global batch of {self.batch} is not a multiple of lanes = {self.lanes}")
        if self.seed < 0:
            raise HarnetError(f"seed is {self.seed}; it must not be negative")

    @property
    def per_lane(self) -> int:
        """Windows that a lane gives to each global batch."""
        return self.batch // self.lanes


@dataclass(frozen=True)
class EpochPlan:
    """The order of one epoch. Positions count windows on the line, 0 to `total` - 1."""

    rows: NDArray[np.int64]
    """(V,) rows of the manifest, in the order of the line; each at most once."""
    ends: NDArray[np.int64]
    """(V,) position after the last window of each visited hour."""
    steps: int
    """Global batches in the epoch: the same in every epoch of a manifest and configuration."""
    epoch: int
    """Number of the epoch, from 0."""
    config: OrderConfig
    """The settings that it was made with."""

    @property
    def total(self) -> int:
        """Windows on the line."""
        return int(self.ends[-1])

    @property
    def dropped(self) -> int:
        """Windows at the end of the line that no global batch takes."""
        return self.total - self.steps * self.config.batch

    def group(self, lane: int, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions of a lane's `number`-th shuffle group, ascending, and the order in which they are delivered."""
        length = self.steps * self.config.per_lane
        first = lane * length
        start = first + number * self.config.shuffle_windows
        positions = np.arange(start, min(start + self.config.shuffle_windows, first + length))
        order = generator(self.config.seed, self.epoch, _STREAM_SHUFFLE, lane, number).permutation(len(positions))
        return positions, order


def generator(*key: int) -> np.random.Generator:
    """A counter-based generator that depends on its key alone (Salmon et al. 2011, Philox)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))


def expected_windows(manifest: Manifest, rows: NDArray[np.int64], config: OrderConfig) -> NDArray[np.float64]:
    """(n,) windows that each block is due in an epoch: its share of its person-day's draws, by motion mass."""
    if len(rows) == 0:
        return np.empty(0)
    starts = manifest.columns[f"starts_{config.window_seconds}"][rows].astype(np.float64)
    # A floor on the mass lets a day without any motion be drawn too, evenly.
    mass = np.where(starts > 0, np.maximum(manifest.columns["motion_mass"][rows].astype(np.float64), 1e-9), 0.0)
    _, day = np.unique(manifest.person_day(rows), return_inverse=True)
    share = mass / np.maximum(np.bincount(day, mass), 1e-9)[day]
    draws = np.minimum(config.draws_per_day, np.bincount(day, starts))[day]
    return np.minimum(draws * share, starts)


def steps_per_epoch(manifest: Manifest, split: str, config: OrderConfig) -> int:
    """Global batches in every epoch of a split.

    Raises:
        HarnetError: the split has less than one global batch of windows of that length.
    """
    due = int(expected_windows(manifest, manifest.rows(split), config).sum())
    if due < config.batch:
        raise HarnetError(
            f"{manifest.folder}: split '{split}' gives {due} windows of {config.window_seconds} s an epoch, fewer than "
            f"one global batch of {config.batch}; lower the batch, or add recordings"
        )
    return due // config.batch


def plan_epoch(manifest: Manifest, split: str, config: OrderConfig, epoch: int) -> EpochPlan:
    """The order of epoch number `epoch` over the blocks of a split.

    Raises:
        HarnetError: the split has less than one global batch of windows of that length.
    """
    steps = steps_per_epoch(manifest, split, config)
    rows = manifest.rows(split)
    order = generator(config.seed, epoch, _STREAM_ORDER).permutation(len(rows))
    rows = rows[order]
    starts = manifest.columns[f"starts_{config.window_seconds}"][rows].astype(np.int64)
    offset = generator(config.seed, epoch, _STREAM_VISITS).random()
    counts = _round_to_visits(expected_windows(manifest, rows, config), starts, config.windows_per_visit, offset)
    counts = _top_up(counts, starts, steps * config.batch)
    visited = counts > 0
    return EpochPlan(rows[visited], np.cumsum(counts[visited]), steps, epoch, config)


def _round_to_visits(
    expected: NDArray[np.float64], starts: NDArray[np.int64], per_visit: int, offset: float
) -> NDArray[np.int64]:
    """Round each hour's expected windows down or up to whole visits, keeping the expectation.

    Systematic sampling (Madow 1949): one uniform offset in [0, 1) decides for all hours, in their permuted order, so
    that the total stays near its expectation as well. An hour's last visit stops at its last window start.
    """
    low = np.floor(expected / per_visit).astype(np.int64) * per_visit
    high = np.minimum(low + per_visit, starts)
    chance = np.where(high > low, (expected - low) / np.maximum(high - low, 1), 0.0)
    line = np.floor(np.cumsum(chance) + offset)
    up = np.diff(line, prepend=0.0) > 0
    return np.where(up, high, low)


def _top_up(counts: NDArray[np.int64], starts: NDArray[np.int64], needed: int) -> NDArray[np.int64]:
    """Give the first hours a few windows more where rounding left less than the fixed number of steps needs."""
    room = starts - counts
    before = np.cumsum(room) - room
    return counts + np.clip(needed - int(counts.sum()) - before, 0, room)


def draw_starts(
    candidates: NDArray[np.int64], motion: NDArray[np.float32], count: int, config: OrderConfig, epoch: int, row: int
) -> NDArray[np.int64]:
    """`count` window starts of an hour, in seconds, in random order.

    Without replacement, with probability proportional to the mean over the window of the per-second motion
    (Yuan et al. 2024): each start gets an exponential time divided by its weight, the earliest ones win
    (Efraimidis and Spirakis 2006).
    """
    mass = np.concatenate([[0.0], np.cumsum(motion, dtype=np.float64)])
    weight = np.maximum(mass[candidates + config.window_seconds] - mass[candidates], 1e-6)
    times = generator(config.seed, epoch, _STREAM_STARTS, row).standard_exponential(len(candidates)) / weight
    return candidates[np.argsort(times, kind="stable")[:count]]


def lanes_of(rank: int, world: int, lanes: int) -> range:
    """The lanes that one of `world` readers serves.

    Raises:
        HarnetError: the lanes cannot be dealt out evenly.
    """
    if lanes % world:
        raise HarnetError(
            f"data.lanes = {lanes} cannot be dealt to {world} readers (processes x loader workers) evenly; "
            f"choose lanes divisible by {world}"
        )
    return range(rank, lanes, world)
