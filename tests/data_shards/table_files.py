"""Tables for tests: a signal of 30 s at 100 Hz, and the recording that is read from a table of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_shards.readers import ReadOptions, load
from data_shards.recording import Loaded

START = 1_700_000_000
SECONDS, RATE = 30, 100
COUNT = SECONDS * RATE


def signal(count: int = COUNT) -> NDArray[np.float64]:
    """Noise around 1 g on z, with four decimals."""
    noise = np.random.default_rng(5).normal(0, 0.05, (count, 3))
    noise[:, 2] += 1
    return noise.round(4)


def unix(index: int) -> str:
    return f"{START + index / RATE:.3f}"


def local(index: int) -> str:
    moment = np.datetime64(START * 1000 + index * 10, "ms")
    return str(moment).replace("T", " ")


def rows(
    separator: str = ",", stamp: Callable[[int], str] = unix, values: Sequence[Sequence[float]] | None = None
) -> list[str]:
    values = signal().tolist() if values is None else values
    return [separator.join([stamp(i), *(f"{value:.4f}" for value in row)]) for i, row in enumerate(values)]


def text(lines: Sequence[str], header: str | None = "time,x,y,z") -> str:
    return "\n".join([*([] if header is None else [header]), *lines]) + "\n"


def recording(folder: Path, content: str | bytes, **options: object) -> Loaded:
    path = folder / "p.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (found,) = load(path, ReadOptions(**options))  # type: ignore[arg-type]
    return found.recording


def notes(of: Loaded) -> dict[str, int]:
    return {note.kind: note.count for note in of.notes}


def assert_plain(of: Loaded, clock: str = "utc") -> None:
    """Assert that the whole signal is read at its times without any note."""
    assert (notes(of), of.clock, of.nominal_rate) == ({}, clock, RATE)
    np.testing.assert_array_equal(of.acceleration, signal().astype(np.float32))
    np.testing.assert_allclose(of.times - of.times[0], np.arange(COUNT) / RATE, atol=1e-6)
