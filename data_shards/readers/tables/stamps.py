"""Parses timestamps: ISO 8601 and similar, dates with the day or the month first, English months, UTC offsets, zones.

A column of a million timestamps has few shapes (positions of its digits), so only the first of each shape is parsed
with a regular expression; the others are computed from their bytes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError

FIRST_CLOCK_SECOND = 315_532_800
"""1980-01-01: smaller numbers are seconds from the start of the recording, not from 1970."""
LAST_CLOCK_SECOND = 4_102_444_800
"""2100-01-01: larger numbers are in milliseconds or finer units."""
LONGEST_STAMP = 63
"""Maximum length of a timestamp in characters."""
MOST_SHAPES = 200
"""Maximum number of shapes in a chunk: numbers without leading zeros lead to about a hundred. More means that the
cells are not timestamps."""

_TIME = (
    r"(?P<hour>\d{1,2}):?(?P<minute>\d\d)(?::?(?P<second>\d\d)(?:[.,:](?P<fraction>\d{1,9})\d*)?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?"
    r"\s*(?P<zone>[Zz]|UTC|GMT|(?:UTC|GMT)?(?P<sign>[+-])(?P<zone_hour>\d\d):?(?P<zone_minute>\d\d)?)?"
    r"\s*(?:\[[\w+\-/]+\])?"
)
_YEAR_FIRST = r"(?P<year>\d{4})(?P<mark>[-/]?|\. ?)(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})\.?"
_YEAR_LAST = r"(?P<first>\d{1,2})(?P<mark>[-/]|\. ?)(?P<other>\d{1,2})(?P=mark)(?P<year>\d{4}|\d\d)"
_MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_MONTH_NAMED = (
    r"(?P<day>\d{1,2})(?P<mark>[-/ .]?)"
    rf"(?P<name>{'|'.join(f'{name[:3]}(?:{name[3:]})?' for name in _MONTHS)})(?P=mark)(?P<year>\d{{4}}|\d\d)"
)
_BETWEEN = r"(?:\s*[T_,]\s*|\.?\s+|:)"  # a comma may have been replaced by a point, as decimal commas are
_STAMPS = tuple(re.compile(date + _BETWEEN + _TIME, re.IGNORECASE) for date in (_YEAR_FIRST, _YEAR_LAST, _MONTH_NAMED))

DateOrder = str
"""What comes first in dates that end with the year: "day" or "month"; "" if unknown."""


def number_of(text: str) -> float | None:
    """The number in a cell, with a decimal point or comma; None if it is not a number."""
    try:
        return float(text.replace(",", ".", 1)) if text and text[-1] not in "yYfFnN" else None
    except ValueError:
        return None


def is_stamp(text: str) -> bool:
    """Whether a cell contains a date and a time of day."""
    return any(pattern.fullmatch(text.strip()) for pattern in _STAMPS)


@dataclass(frozen=True)
class _Shape:
    """Positions of the parts that a timestamp has: (start, stop) by name."""

    spans: dict[str, tuple[int, int]]
    utc: bool
    """Whether it has a UTC offset."""
    month: int
    """The month, from 1, if it is named; 0 if it is a number."""


class Stamps:
    """Parses the timestamps of one recording; the first ones determine the format of the later ones."""

    def __init__(self, date_order: DateOrder = "") -> None:
        self.date_order = date_order
        """As given, or as determined from the first unambiguous date."""
        self.utc: bool | None = None
        """Whether timestamps have a UTC offset; None before the first timestamp."""

    def begin(self, texts: Sequence[str]) -> bool:
        """Determine the format from the first timestamps of a recording; False if none of them is one.

        Raises:
            HarnetError: a date is ambiguous; the message starts with the date and names the option.
        """
        stamps = [text.strip() for text in texts if is_stamp(text)]
        if not stamps:
            return False
        ending_in_year = [match for text in stamps for form in _STAMPS[1:] if (match := form.fullmatch(text))]
        if not self.date_order and any(len(match["year"]) == 2 for match in ending_in_year):
            raise HarnetError(
                f"{stamps[0]!r}: which number is the year? Give --day-first for day, month, year, "
                "else write dates as 2024-05-31"
            )
        year_last = [match for text in stamps if (match := _STAMPS[1].fullmatch(text))]
        if year_last and not self.date_order:
            if any(int(match["first"]) > 12 for match in year_last):
                self.date_order = "day"
            elif any(int(match["other"]) > 12 for match in year_last):
                self.date_order = "month"
            else:
                raise HarnetError(
                    f"{stamps[0]!r}: day or month first? Pass --day-first if it is the day, otherwise write dates as "
                    "2024-05-31"
                )
        shape = _shape(stamps[0], self.date_order or "day")
        assert shape is not None
        self.utc = shape.utc
        return True

    def seconds(self, texts: NDArray[np.bytes_]) -> NDArray[np.float64]:
        """Seconds since 1970, NaN where a text is not a timestamp or differs from the first in having a UTC offset.

        Args:
            texts: (n,) fixed-width bytes, white space stripped.
        """
        out = np.full(len(texts), np.nan)
        width = texts.dtype.itemsize
        if not width or width > LONGEST_STAMP:
            return out
        characters = np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), width)
        remaining = np.arange(len(texts))
        for _ in range(MOST_SHAPES):
            model = characters[remaining[0]]
            same = remaining if len(remaining) == 1 else remaining[_alike(characters, remaining, model)]
            shape = _shape(model.tobytes().rstrip(b"\0").decode("latin-1"), self.date_order or "day")
            if shape is not None and shape.utc == self.utc:
                out[same] = _evaluate(characters if len(same) == len(texts) else characters[same], shape)
            if len(same) == len(remaining):
                break
            remaining = np.setdiff1d(remaining, same, assume_unique=True)
        return out


def _alike(characters: NDArray[np.uint8], rows: NDArray[np.int64], model: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Mask of rows that have digits where the model has digits, and are equal to the model elsewhere."""
    some = characters if len(rows) == len(characters) else characters[rows]
    same = np.ones(len(rows), bool)
    for place, character in enumerate(model):
        if 48 <= character <= 57:
            same &= (some[:, place] - np.uint8(48)) <= 9
        else:
            same &= some[:, place] == character
    return same


@lru_cache(maxsize=4096)
def _shape(text: str, date_order: DateOrder) -> _Shape | None:
    match = next((match for pattern in _STAMPS if (match := pattern.fullmatch(text))), None)
    if match is None:
        return None
    spans = {name: match.span(name) for name, value in match.groupdict().items() if value}
    if "first" in spans:
        day, month = ("first", "other") if date_order == "day" else ("other", "first")
        spans |= {"day": spans[day], "month": spans[month]}
    constants = {name: match[name] for name in ("half", "sign") if name in spans}
    for name, value in constants.items():
        spans[f"{name}:{value.lower()}"] = spans.pop(name)
    month_name = (match.groupdict().get("name") or "").lower()
    named = 1 + next(index for index, each in enumerate(_MONTHS) if each.startswith(month_name)) if month_name else 0
    return _Shape(spans, "zone" in spans, named)


def _evaluate(characters: NDArray[np.uint8], shape: _Shape) -> NDArray[np.float64]:
    """Seconds since 1970 UTC of timestamps of one shape, NaN where a part is out of range."""

    def part(name: str) -> NDArray[np.int64]:
        value = np.zeros(len(characters), np.int64)
        for place in range(*shape.spans.get(name, (0, 0))):
            value *= 10
            value += characters[:, place] - np.uint8(48)
        return value

    hour, minute, second = part("hour"), part("minute"), part("second")
    if "half:a" in shape.spans or "half:p" in shape.spans:
        hour = np.where((hour >= 1) & (hour <= 12), hour % 12 + (12 if "half:p" in shape.spans else 0), 99)
    start, stop = shape.spans["year"]
    century = 2000 if stop - start == 2 else 0
    days, valid = _days(century + part("year"), part("month") + shape.month, part("day"))
    valid &= (hour <= 23) & (minute <= 59) & (second <= 59)
    sign = -1 if "sign:-" in shape.spans else 1
    seconds = days * 86400 + hour * 3600 + minute * 60 + second
    seconds -= sign * (part("zone_hour") * 3600 + part("zone_minute") * 60)
    start, stop = shape.spans.get("fraction", (0, 0))
    scale = 10 ** (stop - start)
    # A single division of integers gives the double nearest to the decimal number.
    times: NDArray[np.float64] = (seconds * scale + part("fraction")) / scale
    times[~valid] = np.nan
    return times


def _days(
    year: NDArray[np.int64], month: NDArray[np.int64], day: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Days since 1970-01-01 in the Gregorian calendar, and whether each date exists."""
    months = (year - 1970) * 12 + month - 1
    unique, inverse = np.unique(months * 32 + day, return_inverse=True)
    first = (unique // 32).astype("datetime64[M]")
    date = first.astype("datetime64[D]") + (unique % 32 - 1)
    real = (date.astype("datetime64[M]") == first) & (unique % 32 >= 1)
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    return date.astype(np.int64)[inverse], valid & real[inverse]
