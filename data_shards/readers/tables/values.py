"""Drops impossible samples: missing and absurd values individually, fillers in runs. They become missing data."""

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.fillers import FILLER_SECONDS, NEAR_GRAVITY
from data_shards.readers.oddities import Kind, Tally
from data_shards.readers.tables.table_rows import TableRows

MOST_G = 20.0
"""Largest plausible value in g: wrist devices measure at most 16 g, and their axes may be off by some tenths of a g."""
MOST_OF_RANGE = 1.5
"""Largest plausible multiple of a known full scale, allowing for its tolerance."""
LEAST_ZEROS = 3
"""Exact zeros that occur together this often were inserted by a program, as no sensor is that quiet in free fall."""
FINE_G = 0.005
"""A sensor with smaller steps than this is never still to the last digit; one of an Empatica, 0.016 g, often is."""
LEAST_REPEATS = 30
"""Number of samples, and at least a second, that such a sensor never repeats."""
LOOKED_AT = 20_000
LEAST_STEPS = 60
"""Number of samples from which the sensor's step is measured, and minimum number of steps in them."""
PLAUSIBLE = (0.5, 4.0)
"""Plausible typical norm in g; outside it the unit is wrong, which is reported elsewhere."""


class Values:
    """Takes rows in chunks and returns those with a measurement on each axis."""

    def __init__(self, tally: Tally, where: str, rate: float, range_g: float | None = None) -> None:
        self._tally = tally
        self._where = where
        # Whole floats: times from a damaged file may give a rate beyond any integer of NumPy.
        self._least = max(FILLER_SECONDS * rate // 1, 2.0)
        self._least_still = max(rate // 1, float(LEAST_REPEATS))
        self._fine: bool | None = None
        self._most = MOST_G if range_g is None else min(MOST_G, MOST_OF_RANGE * range_g)
        self._in_unit = False
        self._unsettled: TableRows | None = None
        self._was_blank = False
        self._held: TableRows | None = None
        self._filler: NDArray[np.float32] | None = None

    def feed(self, rows: TableRows, last: bool = False) -> TableRows:
        """Add one row or more; a run of one value at their end is held back until the next call, unless `last`."""
        rows, absent, blank = self._blank(rows, last)
        # Cells left empty for this long are a filler like any other.
        rows = self._without("repeated fillers", rows, blank)
        rows = self._without("missing values", rows, absent[~blank])
        if self._held is not None:
            rows, self._held = TableRows.joined(self._held, rows), None
        if not len(rows):
            return rows
        self._in_unit = in_unit = self._in_unit or _in_unit(rows)
        if self._fine is None:
            self._fine = _is_fine(rows)
        rows = self._without("repeated fillers", rows, self._fillers(rows))
        if not last and len(rows) and self._filler is None:
            count = int(_run_lengths(rows)[-1])
            if count < self._enough(rows.acceleration[-1:])[0] < np.inf:
                rows, self._held = rows[: len(rows) - count], rows[len(rows) - count :]
        if in_unit:
            rows = self._without("absurd values", rows, _any(np.abs(rows.acceleration) > self._most))
        return rows

    def _blank(self, rows: TableRows, last: bool) -> tuple[TableRows, NDArray[np.bool_], NDArray[np.bool_]]:
        """The rows without a few at their end that lack a value, held back to see how many follow; (n,) which lack one;
        and (n,) which do so for long."""
        if self._unsettled is not None:
            rows, self._unsettled = TableRows.joined(self._unsettled, rows), None
        absent = _any(np.isnan(rows.acceleration))
        lengths = np.diff(np.concatenate([[0], np.flatnonzero(np.diff(absent)) + 1, [len(rows)]]))
        long = lengths >= self._least
        long[0] |= self._was_blank
        if not last and absent[-1] and not long[-1]:
            count = len(rows) - int(lengths[-1])
            rows, self._unsettled = rows[:count], rows[count:]
        blank = absent & np.repeat(long, lengths)
        self._was_blank = bool(blank[-1])
        return rows, absent[: len(rows)], blank[: len(rows)]

    def _fillers(self, rows: TableRows) -> NDArray[np.bool_]:
        """Mask of samples in runs of one value that are longer than a sensor repeats it."""
        lengths = _run_lengths(rows)
        values = rows.acceleration[np.cumsum(lengths) - lengths]
        long = lengths >= self._enough(values)
        if len(lengths) == 1:
            # A chunk with only one value is synthetic, or a test of the device: keep it, unless it is all zeros.
            long &= (values == 0).all()
        if self._filler is not None and (values[0] == self._filler).all():
            long[0] = True  # a run that continues from the previous chunk
        self._filler = values[-1].copy() if long[-1] else None
        return np.repeat(long, lengths)

    def _enough(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) number of repeats that make each value (n, 3) a filler; infinite if a sensor may repeat it for long."""
        zero = (values == 0).all(axis=1)
        if not self._in_unit:
            return np.where(zero, self._least, np.inf)
        still = self._least_still if self._fine else np.inf
        return np.where(zero, LEAST_ZEROS, np.where(_near_gravity(values), still, self._least))

    def _without(self, kind: Kind, rows: TableRows, odd: NDArray[np.bool_]) -> TableRows:
        count = int(odd.sum())
        if not count:
            return rows
        first = int(rows.number[int(np.argmax(odd))])
        self._tally.add(kind, count, f"the first in {self._where} {first:,}")
        return rows[~odd]


def _any(axes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(n, 3) → (n,)"""
    return np.logical_or.reduce(axes, axis=1)


def _changes(rows: TableRows) -> NDArray[np.int64]:
    """Indices of the samples that differ from the previous one."""
    return np.flatnonzero(_any(rows.acceleration[1:] != rows.acceleration[:-1])) + 1


def _run_lengths(rows: TableRows) -> NDArray[np.int64]:
    """Lengths of the runs of samples with equal values, in order."""
    return np.diff(np.concatenate([[0], _changes(rows), [len(rows)]]))


def _in_unit(rows: TableRows) -> bool:
    """Whether the typical norm is plausible for a wrist, in g; samples that repeat the previous one are ignored."""
    some = _norm(rows.acceleration[_changes(rows)])
    return bool(len(some)) and PLAUSIBLE[0] <= float(np.median(some)) <= PLAUSIBLE[1]


def _is_fine(rows: TableRows) -> bool | None:
    """Whether the sensor's steps are smaller than `FINE_G`; None if there are too few different values."""
    values = [np.unique(rows.acceleration[:LOOKED_AT, axis]) for axis in range(3)]
    with np.errstate(over="ignore"):
        steps = np.concatenate([np.diff(each) for each in values])
    return None if len(steps) < LEAST_STEPS else bool(np.quantile(steps, 0.1) < FINE_G)


def _norm(acceleration: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        norm: NDArray[np.float32] = np.sqrt(np.einsum("na,na->n", acceleration, acceleration))
    return norm


def _near_gravity(acceleration: NDArray[np.float32]) -> NDArray[np.bool_]:
    norm = _norm(acceleration)
    return (norm >= NEAR_GRAVITY[0]) & (norm <= NEAR_GRAVITY[1])
