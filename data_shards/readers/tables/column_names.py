"""Usual spellings of column names: time and the three axes of an accelerometer."""

import re

_UNIT = re.compile(r"\s*[(\[{].*|[ _]+(?:s|sec|seconds|ms|us|ns|g|mg)$")
_FINER = {"ms": 1e3, "msec": 1e3, "milliseconds": 1e3, "us": 1e6, "\u00b5s": 1e6, "ns": 1e9}
_TIME = re.compile(r"(?:(?:header|unix|epoch|utc|local|date)?time(?:stamp)?|stamp|timestamp(?:unix|utc|local)|epoch)s?")
_AXIS = re.compile(
    r"(?:raw)?(?:a|acc|accel|acceleration|accelerometer)?(?:axis)?([xyz])(?:axis|acc|accel|acceleration)?"
)


def meaning_of(name: str) -> str:
    """What a column with this name holds: "time", "x", "y", "z", or "" if unknown. `Acc X (g)` holds "x"."""
    plain = re.sub(r"[\W_]+", "", _UNIT.sub("", name.strip().casefold()))
    if _TIME.fullmatch(plain):
        return "time"
    axis = _AXIS.fullmatch(plain)
    return axis[1] if axis else ""


def units_per_second(name: str) -> float:
    """Of a column of times, by its name: 1000 for `time_ms` or `Time [ms]`; 1 for seconds, or if nothing is stated."""
    return _FINER.get(re.split(r"[ _(\[{]", name.strip().casefold().rstrip(")]}"))[-1], 1.0)
