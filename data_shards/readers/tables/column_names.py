"""Usual spellings of column names: time and the three axes of an accelerometer."""

import re

_PER_SECOND = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 1e3),
    # The case-folded micro sign is a Greek letter.
    **dict.fromkeys(
        ("us", "\N{GREEK SMALL LETTER MU}s", "usec", "usecs", "micros", "microsecond", "microseconds"), 1e6
    ),
    **dict.fromkeys(("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds"), 1e9),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), 1 / 60),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 1 / 3600),
    **dict.fromkeys(("d", "day", "days"), 1 / 86400),
}
_TIME_UNIT = re.compile(rf"\s*[(\[{{].*|(?:[ _]+(?:in[ _]+)?|/)(?:{'|'.join(_PER_SECOND)})$")
_UNIT = re.compile(r"\s*[(\[{].*|[ _]+m?g$")
_TIME = re.compile(r"(?:(?:header|unix|epoch|utc|local|date)?time(?:stamp)?|stamp|timestamp(?:unix|utc|local)|epoch)s?")
_AXIS = re.compile(
    r"(?:raw)?(?:a|acc|accel|acceleration|accelerometer)?(?:axis)?([xyz])(?:axis|acc|accel|acceleration)?"
)


def meaning_of(name: str) -> str:
    """What a column with this name holds: "time", "x", "y", "z", or "" if unknown. `Acc X (g)` holds "x"."""
    name = name.strip().casefold()
    if _TIME.fullmatch(_plain(_TIME_UNIT.sub("", name))):
        return "time"
    axis = _AXIS.fullmatch(_plain(_UNIT.sub("", name)))
    return axis[1] if axis else ""


def units_per_second(name: str) -> float | None:
    """Of a column of times, by its name: 1000 for `time_ms` or `Time [ms]`; None if it states no unit."""
    return _PER_SECOND.get(re.split(r"[ _(\[{/]", name.strip().casefold().rstrip(")]}"))[-1])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name)
