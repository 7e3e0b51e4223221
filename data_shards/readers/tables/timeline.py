"""Assigns sampling times to the samples of a table: in order, each once, and spread out if they share a timestamp."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Kind, Tally
from data_shards.readers.tables.spread import (
    IRREGULAR_SHARE,
    LOOK_AHEAD,
    Groups,
    bunched,
    evened,
    is_even,
    mean_period,
    squeezed,
)
from data_shards.readers.tables.table_rows import TableRows
from harnet.errors import HarnetError

FEW = 10
"""Fewer samples than this that are far from their neighbours in time have wrong timestamps."""
RESET = 60.0
"""A clock that goes back by at least this many seconds and stays there was reset."""
RESTART = 1.0
"""Likewise, of seconds that count from the start of a recording: another one begins."""
AWAY = 3600.0
"""A few samples at either end of a recording that are this many seconds from all others have wrong timestamps."""
COARSEST = 60.0
"""Maximum distance in seconds of timestamps that samples share: numbers that lost digits are further apart."""
LEAST_LOOK = 64
"""Minimum number of samples before and after a chunk that are examined with it."""
LEAST_SETTLED = 1 << 16
"""Minimum number of samples from which the period is measured, since all others are placed by it."""
MOST_HELD = 1 << 21
"""Maximum number of samples held: more than a minute at 5 kHz."""
EVENLY_AHEAD = 2.0
"""Number of periods by which no sample is ahead of its even timestamp if the given rate is right."""
LEAST_LATE = 3
"""Minimum number of bunched samples for a recording to be treated as bunched."""
SAME_PERIOD = 0.01
"""Relative difference between the periods of consecutive chunks below which they are considered equal."""


class Timeline:
    """Takes rows in chunks and returns them, with some delay, with strictly increasing times."""

    def __init__(self, tally: Tally, rate: float | None, where: str, *, clock: str) -> None:
        """`rate` is the sampling rate in Hz given by the user; `where` is "line" or "row", for messages; `clock` is
        `Recording.clock`."""
        self.rate = rate
        self.rows = 0
        """Number of samples so far."""
        self._tally = tally
        self._where = where
        self._counts_from_start = clock == "none"
        self._window: TableRows | None = None
        self._done = 0
        self._latest = -np.inf
        self._bunched = False
        self._period = np.inf

    def feed(self, rows: TableRows) -> TableRows:
        """Add rows; returns those whose times are final."""
        if not len(rows):
            return rows
        self.rows += len(rows)
        window = rows if self._window is None else TableRows.joined(self._window, rows)
        look = self._look(window.times)
        if len(window) - self._done <= max(2 * look, LEAST_SETTLED) and len(window) < MOST_HELD:
            self._window = window
            return window[:0]
        stop = len(window) - look
        settled = self._settled(window, self._done, stop, last=False)
        begin = max(stop - look, 0)
        self._window, self._done = window[begin:], stop - begin
        return settled

    def finish(self) -> TableRows | None:
        """The remaining rows; None if there are none."""
        if self._window is None:
            return None
        return self._settled(self._window, self._done, len(self._window), last=True)

    def _look(self, times: NDArray[np.float64]) -> int:
        """Number of samples before and after a sample that are needed to determine its time."""
        if is_even(times):
            return max(int(LOOK_AHEAD * len(times) / max(times[-1] - times[0], 1e-3)), LEAST_LOOK)
        period = mean_period(times)
        groups = Groups(times)
        seconds = max(LOOK_AHEAD, 2 * groups.unit if groups.usual > 1 else 0)
        look = int(min(seconds / period, len(times))) if period > 1e-9 else len(times)
        return max(look, 2 * int(groups.counts.max()), LEAST_LOOK)

    def _settled(self, window: TableRows, start: int, stop: int, last: bool) -> TableRows:
        """Rows `start` to `stop` of a window, with their final times."""
        if self.rate is None and not self._bunched and is_even(window.times) and window.times[start] > self._latest:
            self._latest = float(window.times[stop - 1]) if stop > start else self._latest
            return window[start:stop]
        keep = np.ones(len(window), bool)
        keep[:start] = window.times[:start] <= self._latest + LOOK_AHEAD
        astray = _isolated(window.times, at_start=self._latest == -np.inf, at_end=last)
        self._count("isolated stamps", window, astray, start, stop)
        repeated = _repeated(window) & ~astray
        self._count("repeated blocks", window, repeated, start, stop)
        keep &= ~astray & ~repeated
        times = np.full(len(window), np.nan)
        times[keep] = self._placed(window[keep], last)
        ahead = np.zeros(len(window), bool)
        ahead[keep] = _ahead(times[keep])
        self._count("isolated stamps", window, ahead, start, stop)
        keep &= ~ahead
        least = mean_period(window.times) / 2 if self._bunched else 1e-6
        moved = keep & (np.abs(times - window.times) > least)
        self._count("times spread", window, moved, start, stop)
        keep[:start] = keep[stop:] = False
        there = np.flatnonzero(keep)
        self._refuse_reset(window.number[there], times[there])
        latest = np.maximum.accumulate(np.concatenate([[self._latest], times[there]]))
        forward, again = times[there] > latest[:-1], times[there] == latest[:-1]
        self._count("duplicate samples", window, _marked(there[again], len(window)), start, stop)
        self._count("backward times", window, _marked(there[~forward & ~again], len(window)), start, stop)
        there = there[forward]
        if len(there):
            self._latest = float(times[there[-1]])
        return TableRows(window.number[there], times[there], window.acceleration[there])

    def _refuse_reset(self, number: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        back = -np.diff(times, prepend=self._latest)
        most = RESTART if self._counts_from_start else RESET
        if len(times) and back.max() > most:
            first = int(np.argmax(back > most))
            if self._counts_from_start:
                raise HarnetError(
                    f"{self._tally.named}: times go back by {back[first]:,.0f} s in {self._where} {number[first]:,} "
                    "and continue from there: another recording begins: split the file there"
                )
            raise HarnetError(
                f"{self._tally.named}: the clock goes back by {back[first]:,.0f} s in {self._where} {number[first]:,} "
                "and continues from there: was it reset? Split the file there; if summer time ended, pass --timezone"
            )

    def _placed(self, rows: TableRows, last: bool) -> NDArray[np.float64]:
        """Sampling times of rows that all have valid timestamps."""
        times = rows.times
        if self.rate is not None:
            return self._at_rate(times, self.rate, rows)
        if len(times) < FEW or is_even(times):
            return times
        groups = Groups(times)
        pause = 1.5 * groups.unit if groups.rounded else max(LOOK_AHEAD, 2.5 * groups.unit)
        pauses = np.flatnonzero(np.abs(np.diff(times)) > pause) + 1
        parts = [slice(*ends) for ends in pairwise([0, *pauses.tolist(), len(times)])]
        if groups.rounded:
            return self._spread(rows, parts)
        period = mean_period(times)
        if abs(period / self._period - 1) < SAME_PERIOD or (len(times) < LEAST_SETTLED and self._period < np.inf):
            period = self._period
        self._period = period
        if not period and (np.diff(times) < 0).any():
            return times
        if not period:
            raise HarnetError(f"{self._tally.named}: all samples have the same timestamp: export it with all digits")
        if not self._bunched:
            late = sum(int(bunched(times[part], period).sum()) for part in parts)
            close = int((np.diff(times) < 0.5 * period).sum())
            self._bunched = late > close / 4 and late >= LEAST_LATE
        if not self._bunched:
            return times
        placed = squeezed(np.concatenate([evened(times[part], period) for part in parts]), period)
        return placed if (times - placed).max() < 2 * LOOK_AHEAD else times

    def _spread(self, rows: TableRows, parts: list[slice]) -> NDArray[np.float64]:
        """Sampling times of rows whose timestamps are rounded to a unit, so that many samples share one."""
        groups = [Groups(rows.times[part]) for part in parts]
        whole = Groups(rows.times)
        for each in groups:
            each.usual = each.usual if len(each.counts) > 2 else whole.usual
        if whole.unit > COARSEST:
            raise HarnetError(
                f"{self._tally.named}: timestamps are rounded to {whole.unit:,.0f} s, first in {self._where} "
                f"{rows.number[0]:,}: export them with all digits"
            )
        irregular = sum(each.irregular for each in groups)
        if irregular > max(1, IRREGULAR_SHARE * len(whole.stamps)) or len(whole.stamps) < 3:
            raise HarnetError(
                f"{self._tally.named}: many samples share a timestamp (each {whole.unit:g} s), first in {self._where} "
                f"{rows.number[0]}, in irregular numbers: pass the sampling rate with --rate"
            )
        for each in groups:
            each.unit, each.usual = whole.unit, whole.usual
        return np.concatenate([each.spread() for each in groups])

    def _at_rate(self, times: NDArray[np.float64], rate: float, rows: TableRows) -> NDArray[np.float64]:
        """Each sample one period after the previous one, or at its own timestamp if that is later.

        Evenly timestamped samples keep their own times if the rate would move them: the device was a little faster.
        """
        turns = np.arange(len(times)) / rate
        placed: NDArray[np.float64] = turns + np.maximum.accumulate(times - turns)
        ahead = placed - times
        unit = Groups(times).unit
        if ahead.max() > max(LOOK_AHEAD, 2 * unit):
            number = rows.number[int(np.argmax(ahead > max(LOOK_AHEAD, 2 * unit)))]
            raise HarnetError(
                f"{self._tally.named}: --rate {rate:g}: there are more samples than that before {self._where} "
                f"{number}, or timestamps run backwards there: pass the actual sampling rate"
            )
        return times if ahead.max() > EVENLY_AHEAD / rate and is_even(times) else placed

    def _count(self, kind: Kind, window: TableRows, odd: NDArray[np.bool_], start: int, stop: int) -> None:
        count = int(odd[start:stop].sum())
        if count:
            first = int(window.number[start + int(np.argmax(odd[start:stop]))])
            self._tally.add(kind, count, f"the first in {self._where} {first:,}")


def _marked(indices: NDArray[np.int64], length: int) -> NDArray[np.bool_]:
    marks = np.zeros(length, bool)
    marks[indices] = True
    return marks


def _isolated(times: NDArray[np.float64], at_start: bool, at_end: bool) -> NDArray[np.bool_]:
    """Mask of a few consecutive samples that are out of order, or far from all others at an end of the recording."""
    odd = np.zeros(len(times), bool)
    step = np.diff(times)
    breaks = np.flatnonzero((np.abs(step) > 1) | (step < 0)) + 1
    if not len(breaks) or ((step >= 0).all() and step.max() < AWAY):
        return odd
    usual = np.median(step[step > 0]) if (step > 0).any() else 0
    breaks = breaks[np.abs(step[breaks - 1]) > max(1.0, 2.5 * float(usual))]
    runs = list(pairwise([0, *breaks.tolist(), len(times)]))
    next_long = np.full(len(runs) + 1, np.inf)
    for index in range(len(runs) - 1, -1, -1):
        start, stop = runs[index]
        next_long[index] = times[start] if stop - start >= FEW else next_long[index + 1]
    before = -np.inf
    for index, (start, stop) in enumerate(runs):
        after = next_long[index + 1]
        if stop - start < FEW and len(times) > 2 * FEW:
            first, last = index == 0, index == len(runs) - 1
            between = before <= times[start] and times[stop - 1] <= after
            far = min(times[start] - before, after - times[stop - 1]) > AWAY
            ahead = np.isinf(after) and not last and before <= times[stop] < times[stop - 1]
            if (first and not at_start) or (last and not at_end):
                pass  # the samples before or after are not known yet
            elif (before <= after and not between) or (far and (first or last)) or ahead:
                odd[start:stop] = True
                continue
        before = times[stop - 1]
    return odd


def _ahead(times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Mask of a few consecutive samples whose timestamps are ahead of more samples after them, which would be lost."""
    odd = np.zeros(len(times), bool)
    back = np.diff(times, prepend=-np.inf) < 0
    for stop in np.flatnonzero(back).tolist() if len(times) > 2 * FEW else ():
        count = int((times[max(stop - FEW, 0) : stop] > times[stop]).sum())
        before, after = slice(stop - count, stop), slice(stop, stop + count + 1)
        outnumbered = count < FEW and len(times[after]) > count and times[after].max() < times[before].min()
        if outnumbered and not back[before].any() and not back[after][1:].any():
            odd[before] = True
    return odd


def _repeated(window: TableRows) -> NDArray[np.bool_]:
    """Mask of rows that repeat the previous row, if most rows that share a timestamp do: the file was written twice."""
    odd = np.zeros(len(window), bool)
    shared = np.diff(window.times) == 0
    if shared.mean() < 0.25 if len(shared) else True:
        return odd
    equal = (window.acceleration[1:] == window.acceleration[:-1]).all(axis=1)
    if equal[shared].mean() > 0.99 and (shared.all() or equal[~shared].mean() < 0.5):
        odd[1:] = equal & shared
    return odd
