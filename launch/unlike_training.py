"""Reports how recordings differ from those that a classifier was trained on; their classes are written anyway."""

from collections.abc import Callable, Iterable

from data_shards.cohort.info import RecordingInfo
from data_shards.quality.policy import POLICIES
from harnet.apply.summaries import SECONDS_PER_DAY

CLIPPED = POLICIES["uk-biobank"].max_clipped_share
OFF_MG = 80.0
"""Calibration error: distance from 1 g at rest, in mg, from which posture may be misread."""
RATES = (20.0, 110.0)
"""Range in Hz around the rates of the data sets that activity-open was trained on, 25 and 100 Hz."""
SHOWN = 10
"""Maximum number of recordings that are named; if there are more, only their number is given."""

_CHECKS: tuple[tuple[str, Callable[[RecordingInfo], bool]], ...] = (
    ("never worn for long enough to be told from a table: no class is given", lambda info: info.worn_seconds == 0),
    ("worn for less than a day: its minutes are not those of a usual day",
     lambda info: 0 < info.worn_seconds < SECONDS_PER_DAY),
    (f"the device's rate is not within {RATES[0]:.0f} to {RATES[1]:.0f} Hz, tried with activity-open",
     lambda info: not RATES[0] <= info.nominal_rate <= RATES[1]),
    (f"more than {100 * CLIPPED:.3g} % of samples are at the device's limit: vigorous movement is cut off",
     lambda info: info.quality["clipped_share"] > CLIPPED),
    (f"gravity is off by more than {OFF_MG:.0f} mg and could not be calibrated: lying may be misread",
     lambda info: info.calibration["error_after_mg"] > OFF_MG),
    ("made by formula, not by a person", lambda info: info.device == "synthetic"),
)  # fmt: skip
"""Message, and predicate of the recordings that it applies to."""


def doubts(infos: Iterable[RecordingInfo]) -> list[str]:
    """One line per reason for doubt, with the recordings that it applies to."""
    found = list(infos)
    lines = []
    for said, holds in _CHECKS:
        names = [info.recording for info in found if holds(info)]
        if names:
            who = ", ".join(names) if len(names) <= SHOWN else f"{len(names)} of {len(found)} recordings"
            lines.append(f"note: {who}: {said}")
    return lines
