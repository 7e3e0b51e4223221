"""Rows of a table as read from a file, whether text or Parquet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class TableRows:
    """Some rows of a table, in the order of the file."""

    number: NDArray[np.int64]
    """(n,) line number in a text file or row number in a Parquet file, from 1."""
    times: NDArray[np.float64]
    """(n,) timestamps in seconds; finite."""
    acceleration: NDArray[np.float32]
    """(n, 3) in g; NaN where a cell is empty."""

    def __post_init__(self) -> None:
        assert self.number.shape == self.times.shape
        assert self.acceleration.shape == (len(self.times), 3)

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, index: "slice | NDArray[np.bool_]") -> "TableRows":
        return TableRows(self.number[index], self.times[index], self.acceleration[index])

    @staticmethod
    def joined(*some: "TableRows") -> "TableRows":
        """All of them, concatenated."""
        return TableRows(
            np.concatenate([rows.number for rows in some]),
            np.concatenate([rows.times for rows in some]),
            np.concatenate([rows.acceleration for rows in some]),
        )
