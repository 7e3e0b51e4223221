"""Generates a valid, synthetic Axivity AX3 file of any length, for benchmarks of ingest and for tests.

Layout from `cwa.h` of the Open Movement project: packed samples (10 bits per axis and a common 2-bit exponent), 120 per
block, 100 Hz, ±8 g. The wrist rests in changing orientations, walks, gestures, and the device is taken off once a day;
the temperature follows the time of day. Gain and offset errors are added, so that calibration has something to find.

    python -m benchmarks.make_cwa OUT.cwa --days 7
    python -m benchmarks.make_cwa OUT.cwa --days 7 --person 3    # the week of a person of `harnet synth`
"""

import argparse
import datetime
import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_shards.layout import COUNTS_PER_G as COHORT_COUNTS_PER_G
from data_shards.layout import RATE as COHORT_RATE
from data_shards.synthetic.diary import diary
from data_shards.synthetic.motion import course, measure
from data_shards.synthetic.people import person
from harnet.files import atomic_path

RATE = 100
RANGE_G = 8
RATE_CODE = 0x4A
"""3200 / 2^(15 - 10) = 100 Hz and 16 >> 1 = ±8 g (cwa.h, `samplingRate`)."""
PER_BLOCK = 120
COUNTS_PER_G = 256

BOUT_SECONDS = 300
"""Length of a bout, with one activity and one orientation of the wrist."""

BLOCK = np.dtype(
    [
        ("tag", "S2"),
        ("length", "<u2"),
        ("device", "<u2"),
        ("session", "<u4"),
        ("sequence", "<u4"),
        ("timestamp", "<u4"),
        ("light", "<u2"),
        ("temperature", "<u2"),
        ("events", "u1"),
        ("battery", "u1"),
        ("rate", "u1"),
        ("axes", "u1"),
        ("offset", "<i2"),
        ("count", "<u2"),
        ("samples", "<u4", PER_BLOCK),
        ("checksum", "<u2"),
    ]
)
"""`cwa_data_t` of cwa.h: 512 bytes."""


@dataclass(frozen=True)
class MakeOptions:
    """The recording to generate."""

    days: float = 7.0
    """Length in days of 24 hours; rounded to whole blocks of 1.2 s."""
    seed: int = 0
    """Seed of the noise and the order of bouts; the same seed gives the same bytes."""
    start: datetime.datetime = datetime.datetime(2024, 3, 1, 10, 0, 0)
    """Wall clock of the device at the first sample, a whole second."""
    gain: tuple[float, float, float] = (1.02, 0.985, 1.01)
    """The device reads gain · true + offset, axis by axis."""
    offset: tuple[float, float, float] = (0.03, -0.02, 0.015)
    """Standard deviation of the noise, in g."""
    person: int | None = None
    """Number of a person of `harnet synth`, of the same seed, who wears it from midnight on; None for simple bouts."""


Signal = Callable[[int, int], NDArray[np.float32]]
"""(first, count) -> (count, 3) in g of these samples."""


def true_acceleration(first: int, count: int, seed: int) -> NDArray[np.float32]:
    """Output of an ideal sensor for samples first..first+count, (count, 3) in g.

    A pure function of its arguments bout by bout: `first` is the start of a bout.
    """
    per_bout = BOUT_SECONDS * RATE
    assert first % per_bout == 0
    bouts = [_bout(number, seed) for number in range(first // per_bout, -(-(first + count) // per_bout))]
    return np.concatenate(bouts)[:count]


def _bout(number: int, seed: int) -> NDArray[np.float32]:
    """One bout with its own direction of gravity; rest, walking at about 1.8 Hz, and gestures alternate."""
    random = np.random.default_rng((seed, number))
    time = np.arange(BOUT_SECONDS * RATE, dtype=np.float32) / RATE
    gravity = random.normal(size=3)
    gravity /= np.linalg.norm(gravity)
    hour = number * BOUT_SECONDS // 3600 % 24
    if hour == 6:  # off the wrist for an hour a day, flat on a table
        signal = np.tile(np.array([0, 0, 1], np.float32), (len(time), 1))
    else:
        signal = np.tile(gravity.astype(np.float32), (len(time), 1))
        kind = 0 if 12 <= hour < 20 and number % 4 else random.integers(3)  # the recording's night is mostly rest
        if kind == 1:
            step = 2 * np.pi * random.uniform(1.5, 2.1) * time
            signal += np.outer(np.sin(step) + 0.3 * np.sin(2 * step + 1), 0.25 * random.normal(size=3))
        elif kind == 2:
            swing = np.sin(2 * np.pi * random.uniform(0.05, 0.4) * time) * np.sin(2 * np.pi * 0.01 * time)
            signal += np.outer(swing, 0.5 * random.normal(size=3))
    signal += 0.004 * random.standard_normal(signal.shape, np.float32)
    return signal


def worn_by(number: int, seed: int, days: float) -> Signal:
    """What the synthetic person of that number makes a sensor feel: 30 Hz, drawn out to 100 Hz by straight lines."""
    someone = person(seed, number)
    counts = measure(
        someone, seed, number, course(someone, seed, number, diary(someone, seed, number, math.ceil(days)))
    )

    def signal(first: int, count: int) -> NDArray[np.float32]:
        places = np.arange(first, first + count) * COHORT_RATE / RATE
        begin = int(places[0])
        near = counts[:, begin : int(places[-1]) + 2] / np.float32(COHORT_COUNTS_PER_G)
        return np.stack([np.interp(places - begin, np.arange(near.shape[1]), axis) for axis in near], 1).astype(
            np.float32
        )

    return signal


def first_midnight(number: int, seed: int) -> datetime.datetime:
    """Start time of the recording of that person."""
    return datetime.datetime(2024, 1, 1) + datetime.timedelta(days=person(seed, number).first_day)


def celsius(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Temperature: a slow wave over the day and a faster one over three hours, 24 to 34 °C."""
    return 29 + 3.5 * np.sin(2 * np.pi * seconds / 86_400) + 1.5 * np.sin(2 * np.pi * seconds / 10_800)


def packed(counts: NDArray[np.int32]) -> NDArray[np.uint32]:
    """(n, 3) counts in ±2048 → (n,) `eezzzzzzzzzzyyyyyyyyyyxxxxxxxxxx` of cwa.h; low bits are lost above ±511."""
    largest = np.maximum(counts, ~counts).max(axis=1)
    exponent = (largest > 511).astype(np.int32) + (largest > 1023)
    mantissa = (counts >> exponent[:, None] & 0x3FF).astype(np.uint32)
    return mantissa[:, 0] | mantissa[:, 1] << 10 | mantissa[:, 2] << 20 | exponent.astype(np.uint32) << 30


def header(options: MakeOptions) -> bytes:
    """`cwa_header_t`: an AX3, ±8 g, 100 Hz, with a note that the file is synthetic."""
    content = bytearray(b"\xff" * 1024)
    struct.pack_into("<2sHBHI", content, 0, b"MD", 1020, 0x17, 12_345, 1)
    struct.pack_into("<IIIB", content, 13, _timestamps(options.start, np.zeros(1, int))[0], 0xFFFFFFFF, 0, 0xFF)
    content[36] = RATE_CODE
    content[64:512] = b"_n=synthetic+made+by+formula".ljust(448)
    return bytes(content)


def blocks(options: MakeOptions) -> Iterator[NDArray[np.void]]:
    """All data blocks in order, at most an hour at a time."""
    total = round(options.days * 86_400 * RATE / PER_BLOCK)
    per_piece = 3600 * RATE // PER_BLOCK
    gain, offset = np.array(options.gain, np.float32), np.array(options.offset, np.float32)
    signal_of: Signal = partial(true_acceleration, seed=options.seed)
    if options.person is not None:
        signal_of = worn_by(options.person, options.seed, options.days)
    for first in range(0, total, per_piece):
        made = np.zeros(min(per_piece, total - first), BLOCK)
        number = np.arange(first, first + len(made))
        signal = signal_of(first * PER_BLOCK, len(made) * PER_BLOCK) * gain + offset
        counts = np.clip(np.rint(signal * COUNTS_PER_G), -RANGE_G * COUNTS_PER_G, RANGE_G * COUNTS_PER_G - 1)
        start = number * PER_BLOCK
        second = -(-start // RATE)
        made["tag"], made["length"], made["device"], made["session"], made["sequence"] = b"AX", 508, 12_345, 1, number
        made["timestamp"] = _timestamps(options.start, second)
        made["temperature"] = np.rint((celsius(start / RATE) + 50) * 256 / 75)
        made["battery"], made["rate"], made["axes"] = 200, RATE_CODE, 0x30
        made["offset"], made["count"] = second * RATE - start, PER_BLOCK
        made["samples"] = packed(counts.astype(np.int32)).reshape(-1, PER_BLOCK)
        made["checksum"] = -made.view("<u2").reshape(len(made), -1).sum(axis=1, dtype=np.uint32) & 0xFFFF
        yield made


def _timestamps(start: datetime.datetime, seconds: NDArray[np.integer]) -> NDArray[np.uint32]:
    """`cwa_timestamp_t`: YYYYYYMM MMDDDDDh hhhhmmmm mmssssss, years from 2000."""
    times = np.datetime64(start, "s") + np.asarray(seconds).astype("timedelta64[s]")
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    second = (times - days).astype(np.int64)
    year, month = divmod(months.astype(np.int64) + 1970 * 12, 12)
    day = (days - months).astype(np.int64) + 1
    fields = (year - 2000 << 26, month + 1 << 22, day << 17, second // 3600 << 12, second // 60 % 60 << 6, second % 60)
    return np.bitwise_or.reduce(fields).astype(np.uint32)


def make(path: Path, options: MakeOptions) -> int:
    """Write the file atomically; return the number of samples."""
    count = 0
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header(options))
        for piece in blocks(options):
            file.write(piece.tobytes())
            count += len(piece) * PER_BLOCK
    return count


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--days", type=float, default=MakeOptions.days)
    parser.add_argument("--seed", type=int, default=MakeOptions.seed)
    parser.add_argument("--person", type=int, help="number of a person of harnet synth, instead of simple bouts")
    arguments = parser.parse_args()
    options = MakeOptions(days=arguments.days, seed=arguments.seed, person=arguments.person)
    if options.person is not None:
        options = replace(options, start=first_midnight(options.person, options.seed))
    count = make(arguments.out, options)
    print(f"{arguments.out}: {count:,} samples, synthetic, seed {arguments.seed}")


if __name__ == "__main__":
    main()
