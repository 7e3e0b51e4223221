"""Usual spellings of column names: time and the three axes of an accelerometer."""

import re

_UNIT = re.compile(r"\s*[(\[{].*|[ _]+(?:s|sec|seconds|ms|us|ns|g|mg)$")
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
