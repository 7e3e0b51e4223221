"""Refuses tables with rows of several people or devices: together they are not one recording."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from data_shards.readers.tables.cells import NO_VALUE
from harnet.errors import HarnetError

FEWEST = 2
"""Rows with another value than the others that are no damage: one cell may be."""

_NAME = re.compile(
    r"(?:(?:subject|participant|person|patient|user|wearer|volunteer)s?(?:id|no|nr|num|number|code|name)?"
    r"|id|pid|uid|seqn"
    r"|(?:device|sensor|watch)(?:id|no|nr|num|number|serial|serialnumber|name|type|location|position|placement|side)?"
    r"|serial(?:no|number)?|mac(?:address)?|wrist|bodypart|limb)"
)

_ABSENT = pa.array(NO_VALUE)


class OneDevice:
    """Checks the columns of a table that name its wearer or device."""

    def __init__(self, names: Sequence[str], taken: Sequence[int], named: object, where: str) -> None:
        """`taken` are the indices of the columns of the signal; `where` is "line" or "row", for messages."""
        self.places = [
            place
            for place, name in enumerate(names)
            if place not in taken and _NAME.fullmatch(re.sub(r"[\W_]+", "", name.casefold()))
        ]
        """Index of each such column."""
        self._names = [names[place] for place in self.places]
        self._named = named
        self._where = where
        self._usual: list[pa.Scalar | None] = [None] * len(self.places)
        self._others = [0] * len(self.places)

    def check(self, number: NDArray[np.int64], columns: Sequence[pa.Array]) -> None:
        """Check some rows.

        Args:
            number: (n,) their numbers.
            columns: (n,) cells of each column in `places`, as strings.

        Raises:
            HarnetError: a column has several values, unless it numbers the rows.
        """
        for index, column in enumerate(columns):
            cells = pc.utf8_trim_whitespace(column)
            cells = pc.if_else(pc.is_in(cells, _ABSENT), None, cells)
            if self._usual[index] is None:
                self._usual[index] = _usual(cells)
            usual = self._usual[index]
            if usual is None or not usual.is_valid:
                continue
            other = pc.fill_null(pc.not_equal(cells, usual), False)
            there = np.flatnonzero(other.to_numpy(zero_copy_only=False))
            self._others[index] += len(there)
            if self._others[index] >= FEWEST:
                raise HarnetError(
                    f"{self._named}: the column {self._names[index]!r} has another value in {self._where} "
                    f"{number[there[0]]:,}: rows of several people or devices are not one recording: write one file "
                    "for each, or rename the column if it means something else"
                )


def _usual(cells: pa.Array) -> pa.Scalar | None:
    """The most frequent value; a null if most differ, as row numbers do; None if all cells are empty."""
    counted = pc.value_counts(cells.drop_null())
    if not len(counted):
        return None
    if 2 * len(counted) > max(len(cells), 2):
        return pa.scalar(None, pa.string())
    return counted.field("values")[int(counted.field("counts").to_numpy().argmax())]
