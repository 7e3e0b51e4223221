"""The first pass over a recording, piece by piece: checked, summed up, and brought to 30 Hz in a scratch file.

The rate, and with it the filter and what counts as a gap, must be known before anything is resampled, and the samples
come once. So the beginning is held in memory until its rate is measured; that of most recordings is all of them.
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
"""At a time: temporaries of some 20 MB, whatever a reader's pieces are. Sums a second depend on where pieces end."""
BEGINNING_PIECES = 64
"""2^24 samples in which the rate is measured, 336 MB: two days at 100 Hz, six at 30 Hz."""


@dataclass(frozen=True)
class Gathered:
    """What is known of a recording once all of it has been seen; its signal is in the scratch file."""

    first: float
    """Time of the first sample in seconds since 1970."""
    last: float
    """Time of the last."""
    gaps: NDArray[np.float64]
    """Lengths of the gaps in seconds."""
    survey: Survey
    """Its samples, summed up by windows of ten seconds."""
    clipped_share: float
    """Share of its samples with an axis at the full scale."""


def gather(recording: Recording, named: str, min_seconds: float, scratch: Scratch) -> Gathered:
    """Read all of a recording.

    Args:
        recording: What a reader returned; its pieces are read to the end.
        named: What an error begins with.
        min_seconds: Length of the longest stretch without a gap that it must have.
        scratch: Takes the signal at 30 Hz, not calibrated.

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
    """The same samples in pieces of `size` each; the last may be smaller."""
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
    """Copied, since a part of an array would keep all of it."""
    return SampleChunk(*(np.concatenate(values) for values in zip(*pieces, strict=True)))


def _begin(recording: Recording, beginning: Iterable[SampleChunk], named: str, scratch: Scratch) -> Resampler:
    """What resamples a recording that begins so."""
    times = np.concatenate([np.empty(0), *(piece.times for piece in beginning)])
    if len(times) < 2:
        raise HarnetError(f"{named}: {len(times)} samples: nothing to ingest")
    threshold = gap_threshold(times)
    rate = measured_rate(times, stretches(times, threshold))
    checks.refuse_rate(recording.nominal_rate, rate, named)
    return Resampler(rate, threshold, scratch.write)


def _shrinking(beginning: "deque[SampleChunk]", rest: Iterator[SampleChunk]) -> Iterator[SampleChunk]:
    """The pieces held and then the others; none is held once it was given."""
    while beginning:
        yield beginning.popleft()
    yield from rest
