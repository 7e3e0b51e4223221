"""Labelled recordings as Parquet, one file each: `PERSON__RECORDING.parquet` with time, x, y, z in g, and label.

No data set is published in this format; it is a convenient copy of larger data sets whose text files are slow to read.
Times are timestamps or seconds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError

COLUMNS = ("time", "x", "y", "z", "label")


@dataclass(frozen=True)
class LabelledRecording:
    """Content of one file."""

    person: str
    """Part of the file name before the two underscores."""
    name: str
    """Part after them, without the suffix."""
    times: NDArray[np.float64]
    """(n,) seconds."""
    signal: NDArray[np.float64]
    """(n, 3) in g."""
    labels: NDArray[np.str_]
    """(n,) activity labels."""


def recordings(folder: Path) -> Iterator[LabelledRecording]:
    """All such recordings below `folder`, sorted by path; HarnetError for a malformed file."""
    for path in sorted(folder.rglob("*__*.parquet")):
        person, _, name = path.stem.partition("__")
        yield LabelledRecording(person, name, *_read(path))


def _read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    import pyarrow
    from pyarrow import parquet

    try:
        columns = parquet.read_schema(path).names
        if absent := [name for name in COLUMNS if name not in columns]:
            raise HarnetError(f"{path}: no column {absent[0]!r}; expected {', '.join(COLUMNS)}")
        table = parquet.read_table(path, columns=list(COLUMNS))
        times = table["time"].to_numpy()
        signal = np.stack([table[axis].to_numpy().astype(np.float64) for axis in "xyz"], axis=1)
    except (OSError, pyarrow.ArrowException, ValueError, TypeError) as error:
        raise HarnetError(f"{path}: not a Parquet table of {', '.join(COLUMNS)} ({error})") from error
    if times.dtype.kind == "M":
        times = (times - times[:1]).astype("timedelta64[us]").astype(np.float64) / 1e6
    return times.astype(np.float64), signal, np.asarray(table["label"].to_pylist(), dtype=np.str_)
