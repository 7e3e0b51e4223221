"""The first pass over a recording, chunk by chunk: checks it, collects statistics and resamples it into a scratch file.

The sampling rate determines the filter and the gap threshold, so it must be known before resampling, and samples can be
read only once. So the beginning is buffered until its rate is measured; for most recordings that is all of it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from data_shards.ingest import checks
from data_shards.ingest.resampling import Resampler, gap_threshold, measured_rate, stretches
from data_shards.ingest.scratch import Scratch
from data_shards.ingest.survey import Survey, Surveyor
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

PIECE_SAMPLES = 1 << 18
"""Samples per chunk, which gives temporaries of about 20 MB. Fixed, because sums depend on the chunk boundaries."""
BEGINNING_PIECES = 64
"""Chunks in which the rate is measured: 2^24 samples, 336 MB, two days at 100 Hz or six at 30 Hz."""


@dataclass(frozen=True)
class Gathered:
    """Result of the first pass over a recording; its signal is in the scratch file."""

    first: float
    """Time of the first sample in seconds since 1970."""
    last: float
    """Time of the last."""
    gaps: NDArray[np.float64]
    """Lengths of the gaps in seconds."""
    survey: Survey
    """Statistics of its samples per ten-second window."""
    clipped_share: float
    """Fraction of its samples with an axis at full scale."""


def gather(recording: Recording, named: str, min_seconds: float, scratch: Scratch) -> Gathered:
    """Read a whole recording.

    Args:
        recording: Output of a reader; its chunks are read to the end.
        named: Prefix of error messages.
        min_seconds: Minimum length of its longest gap-free stretch, in seconds.
        scratch: Receives the uncalibrated signal at 30 Hz.

    Raises:
        HarnetError: it cannot be used.
        OSError: the scratch file cannot be written.
    """
    pieces = even(recording.pieces, PIECE_SAMPLES)
    beginning = deque(islice(pieces, BEGINNING_PIECES))
    resampler = _begin(recording, beginning, named, scratch)
    surveyor = Surveyor(named, recording.range_g)
    first = last = float(beginning[0].times[0])
    judged = False
    for piece in _shrinking(beginning, pieces):
        assert (np.diff(piece.times) > 0).all(), named
        surveyor.add(piece)
        if not (judged or beginning):
            checks.refuse_units(surveyor.seconds(), recording.nominal_rate, named)
            judged = True
        if judged:
            surveyor.make_windows()
        last = float(piece.times[-1])
        checks.refuse_span(first, last, named)
        resampler.add(piece)
    resampler.finish()
    checks.refuse_short(resampler.longest + 1 / recording.nominal_rate, min_seconds, named)
    return Gathered(first, last, np.array(resampler.gaps), surveyor.finish(), surveyor.clipped_share)


def even(pieces: Iterable[SampleChunk], size: int) -> Iterator[SampleChunk]:
    """The same samples in chunks of `size`; the last may be smaller."""
    held: list[SampleChunk] = []
    lacking = size
    for times, acceleration in pieces:
        begin = 0
        while len(times) - begin >= lacking:
            held.append(SampleChunk(times[begin : begin + lacking], acceleration[begin : begin + lacking]))
            yield _joined(held)
            begin += lacking
            held, lacking = [], size
        if begin < len(times):
            held.append(SampleChunk(times[begin:], acceleration[begin:]))
            lacking -= len(times) - begin
    if held:
        yield _joined(held)


def _joined(pieces: list[SampleChunk]) -> SampleChunk:
    """Join chunks; copies, because a slice would keep the whole array alive."""
    return SampleChunk(*(np.concatenate(values) for values in zip(*pieces, strict=True)))


def _begin(recording: Recording, beginning: Iterable[SampleChunk], named: str, scratch: Scratch) -> Resampler:
    """The resampler for a recording with this beginning."""
    times = np.concatenate([np.empty(0), *(piece.times for piece in beginning)])
    if len(times) < 2:
        raise HarnetError(f"{named}: {len(times)} samples: nothing to ingest")
    threshold = gap_threshold(times)
    rate = measured_rate(times, stretches(times, threshold))
    checks.refuse_rate(recording.nominal_rate, rate, named)
    return Resampler(rate, threshold, scratch.write)


def _shrinking(beginning: "deque[SampleChunk]", rest: Iterator[SampleChunk]) -> Iterator[SampleChunk]:
    """Yield the buffered chunks, releasing each, and then the rest."""
    while beginning:
        yield beginning.popleft()
    yield from rest
