"""Empatica E4 `ACC.csv`.

Layout, from the maker's note that comes with each export: row 1 is the UNIX time (UTC) of the first sample, row 2 the
sampling rate, both given once per axis; then `x,y,z` in units of 1/64 g.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from data_shards.readers.oddities import Tally
from data_shards.readers.protocol import Found, Reader, ReadOptions
from data_shards.recording import Loaded
from harnet.errors import HarnetError

UNITS_PER_G = 64
"""Scale of the integers in the file."""
RANGE_G = 2.0
"""The E4's fixed full scale (the maker's data sheet)."""

_THREE_EQUAL = re.compile(rb"\s*(\d+(?:\.\d+)?)\s*,\s*\1\s*,\s*\1\s*")


class Empatica(Reader):
    """The file is always called ACC.csv, so the folder around it names the recording."""

    kind = "Empatica E4 ACC.csv"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By two rows, each of one number three times."""
        rows = head.split(b"\n", 2)
        return len(rows) == 3 and all(_THREE_EQUAL.fullmatch(row) for row in rows[:2])

    def label(self, path: Path) -> str:
        """The name of the folder that holds the file."""
        return path.resolve().parent.name

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the one recording. Raises `HarnetError` for a cell that is not a number."""
        with path.open("rb") as file:
            start, rate = (float(file.readline().split(b",")[0]) for _ in range(2))
        if rate <= 0:
            raise HarnetError(f"{path}: row 2 gives a sampling rate of {rate:g}: export the file again")
        try:
            frame = pd.read_csv(path, skiprows=2, header=None, names=["x", "y", "z"], index_col=False, dtype=np.float32)
        except ValueError as error:
            raise HarnetError(
                f"{path}: not three numbers in every row ({_one_line(error)}): export it again"
            ) from error
        values = frame.to_numpy(np.float32)
        tally = Tally(path)
        if len(values) and np.isnan(values[-1]).any():
            # An export that was cut off ends within a row; every row before it is whole.
            values = values[:-1]
            tally.add("cut end", detail="within a row")
        bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise HarnetError(f"{path}: row {bad[0] + 3} is not three finite numbers: export the file again")
        recording = Loaded(
            acceleration=(values / UNITS_PER_G).astype(np.float32),
            times=start + np.arange(len(values)) / rate,
            nominal_rate=rate,
            device="Empatica E4",
            clock="utc",
            range_g=RANGE_G,
            notes=tally.notes(),
        )
        yield Found(recording.stream(), label=self.label(path))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
