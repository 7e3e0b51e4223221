"""What makes a recording unlike those that a classifier learnt from: it is said, and its classes are given."""

from collections.abc import Callable, Iterable

from data_shards.cohort.info import RecordingInfo

DAY_SECONDS = 86400
CLIPPED = 0.01
"""Share of samples at full scale; UK Biobank's papers leave such recordings out."""
OFF_MG = 80.0
"""Distance of stillness from 1 g from which posture may be misread."""
RATES = (20.0, 110.0)
"""Hz around those of the recordings that the packaged classifier learnt from, 25 and 100."""
SHOWN = 10
"""Recordings named one by one; of more, how many."""

_CHECKS: tuple[tuple[str, Callable[[RecordingInfo], bool]], ...] = (
    ("never worn for long enough to be told from a table: no class is given", lambda info: info.worn_seconds == 0),
    ("worn for less than a day: its minutes are not those of a usual day",
     lambda info: 0 < info.worn_seconds < DAY_SECONDS),
    (f"the device's rate is not within {RATES[0]:.0f} to {RATES[1]:.0f} Hz, near which the classifier learnt",
     lambda info: not RATES[0] <= info.nominal_rate <= RATES[1]),
    ("more than 1 % of samples are at the device's limit: vigorous movement is cut off",
     lambda info: info.quality["clipped_share"] > CLIPPED),
    (f"gravity is off by more than {OFF_MG:.0f} mg and could not be calibrated: lying may be misread",
     lambda info: info.calibration["error_after_mg"] > OFF_MG),
    ("made by formula, not by a person", lambda info: info.device == "synthetic"),
)  # fmt: skip
"""What is said, and of which recordings."""


def doubts(infos: Iterable[RecordingInfo]) -> list[str]:
    """A line for each reason to doubt, with the recordings that it is of."""
    found = list(infos)
    lines = []
    for said, holds in _CHECKS:
        names = [info.recording for info in found if holds(info)]
        if names:
            who = ", ".join(names) if len(names) <= SHOWN else f"{len(names)} of {len(found)} recordings"
            lines.append(f"note: {who}: {said}")
    return lines
