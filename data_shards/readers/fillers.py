"""Drop runs of one repeated value, which were inserted in place of measurements: every sensor has noise."""

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.recording import SampleChunk

FILLER_SECONDS = 0.5
"""A value far from 1 g that is repeated exactly for at least this long was not measured."""
NEAR_GRAVITY = (0.5, 1.5)
"""Norms in g close to gravity: a coarse sensor on a still wrist may repeat them for minutes."""


class Fillers:
    """Takes the samples of a device in chunks, and returns those that are not fillers; the others are counted."""

    def __init__(self, rate: float, tally: Tally) -> None:
        self._least = max(int(FILLER_SECONDS * rate), 2)
        self._tally = tally
        self._last: NDArray[np.float32] | None = None

    def without(self, piece: SampleChunk) -> SampleChunk:
        """The chunk without its fillers. Of a run that begins in the last half second of a chunk, that part is kept."""
        times, acceleration = piece
        if not len(times):
            return piece
        same = np.ones(len(times) - 1, bool)
        for axis in acceleration.T:
            same &= axis[1:] == axis[:-1]
        starts = np.concatenate([[0], np.flatnonzero(~same) + 1])
        lengths = np.diff(starts, append=len(times))
        long = lengths >= self._least
        if self._last is not None:
            long[0] |= bool((acceleration[0] == self._last).all())
        if long.any():
            norms = np.linalg.norm(acceleration[starts[long]], axis=1)
            long[long] = (norms < NEAR_GRAVITY[0]) | (norms > NEAR_GRAVITY[1])
        self._last = acceleration[-1].copy() if long[-1] else None
        if not long.any():
            return piece
        odd = np.repeat(long, lengths)
        self._tally.add(
            "repeated fillers", int(odd.sum()), f"samples, the first {acceleration[np.argmax(odd)].tolist()} g"
        )
        return SampleChunk(times[~odd], acceleration[~odd])
