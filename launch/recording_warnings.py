"""Warnings about recordings that differ from those a classifier was trained on; they are classified anyway."""

from collections.abc import Callable, Iterable

from data_shards.cohort.info import RecordingInfo
from data_shards.quality.policy import POLICIES
from harnet.apply.summaries import SECONDS_PER_DAY

CLIPPED = POLICIES["uk-biobank"].max_clipped_share
OFF_MG = 80.0
"""Calibration error (distance from 1 g at rest) in mg above which posture may be misclassified."""
RATES = (20.0, 110.0)
"""Range in Hz around the sampling rates of the training data of activity-open, 25 and 100 Hz."""
SHOWN = 10
"""Maximum number of recordings to name; if there are more, only their number is printed."""

_RULES: tuple[tuple[str, Callable[[RecordingInfo], bool]], ...] = (
    ("no wear detected: no window is classified", lambda info: info.worn_seconds == 0),
    ("worn for less than a day: minutes may not represent a usual day",
     lambda info: 0 < info.worn_seconds < SECONDS_PER_DAY),
    (f"sampling rate outside {RATES[0]:.0f} to {RATES[1]:.0f} Hz, the range of activity-open's training data",
     lambda info: not RATES[0] <= info.nominal_rate <= RATES[1]),
    (f"more than {100 * CLIPPED:.3g} % of samples are at the device's full scale: vigorous movement is clipped",
     lambda info: info.quality["clipped_share"] > CLIPPED),
    (f"calibration error above {OFF_MG:.0f} mg: lying may be misclassified",
     lambda info: info.calibration["error_after_mg"] > OFF_MG),
    ("synthetic, not recorded from a person", lambda info: info.device == "synthetic"),
)  # fmt: skip
"""Message -> whether it applies to a recording."""


def recording_warnings(infos: Iterable[RecordingInfo]) -> list[str]:
    """One line per warning, with the recordings that it applies to."""
    found = list(infos)
    lines = []
    for message, applies in _RULES:
        names = [info.recording for info in found if applies(info)]
        if names:
            who = ", ".join(names) if len(names) <= SHOWN else f"{len(names)} of {len(found)} recordings"
            lines.append(f"note: {who}: {message}")
    return lines
