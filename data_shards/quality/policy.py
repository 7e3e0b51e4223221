"""Which recordings are good enough to use: quality policies, their exclusion rules, and the resulting flow table.

Quality is measured once, at ingest, and stored with the recording; a policy is applied when shards are made. So a
policy can be changed without reading device files again, and no data are lost to it.

The default is what papers with UK Biobank's accelerometer data exclude (Doherty et al. 2017, PLoS ONE
12(2):e0169649): not calibrated, over 1 % of values clipped, under 72 h of wear or an hour of the day never worn,
mean acceleration of 100 mg or more.
"""

import math
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from data_shards.cohort.info import RecordingInfo
from harnet.errors import HarnetError


@dataclass(frozen=True)
class QualityPolicy:
    """Limits; a recording that violates one is excluded from the shards."""

    calibrated: bool = True
    """Exclude recordings whose axes could not be calibrated."""
    max_clipped_share: float = 0.01
    """Exclude recordings with more than this fraction of samples at the device's full scale."""
    min_wear_hours: float = 72.0
    """Exclude recordings with less wear time, in hours."""
    every_clock_hour: bool = True
    """Exclude recordings without wear in some hour of the day (0 to 23)."""
    max_mean_mg: float = 100.0
    """Exclude recordings whose mean acceleration (ENMO) during wear is this many mg or more."""

    def __post_init__(self) -> None:
        for name in ("max_clipped_share", "min_wear_hours", "max_mean_mg"):
            if not getattr(self, name) >= 0:
                raise HarnetError(f"quality policy: {name} is {getattr(self, name)}; it must be at least 0")
        if self.max_clipped_share > 1:
            raise HarnetError(f"quality policy: max_clipped_share is {self.max_clipped_share}; a share is 1 at most")
        if math.isinf(self.min_wear_hours):
            raise HarnetError("quality policy: min_wear_hours is infinite, which no recording reaches; give hours")


POLICIES = {
    "uk-biobank": QualityPolicy(),
    "none": QualityPolicy(False, 1.0, 0.0, False, math.inf),
}
"""Named policies."""


def find_policy(text: str) -> QualityPolicy:
    """The policy with that name, or from that TOML file, whose keys are the fields of `QualityPolicy`.

    Raises:
        HarnetError: no such name or file, not TOML, an unknown key or a value of the wrong type.
    """
    if text in POLICIES:
        return POLICIES[text]
    try:
        table = tomllib.loads(Path(text).read_text())
    except OSError as error:
        raise HarnetError(
            f"quality policy {text!r}: neither one of {', '.join(POLICIES)} nor a TOML file ({error.strerror})"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnetError(f"{text}: not TOML: {error}") from error
    kinds = {field.name: bool if field.type is bool else (int, float) for field in fields(QualityPolicy)}
    for key, value in table.items():
        if key not in kinds:
            raise HarnetError(f"{text}: unknown key {key!r}; known are {', '.join(kinds)}")
        if not isinstance(value, kinds[key]) or (kinds[key] is not bool and isinstance(value, bool)):
            raise HarnetError(
                f"{text}: {key} is {value!r}; give {'true or false' if kinds[key] is bool else 'a number'}"
            )
    return QualityPolicy(**table)


@dataclass(frozen=True)
class Rule:
    """One exclusion rule."""

    name: str
    """Short name, for tables and JSON."""
    limit: str
    """Name of the policy field with its limit."""
    description: Callable[[QualityPolicy], str]
    """Human-readable description of what it excludes under a policy."""
    violated_by: Callable[[RecordingInfo, QualityPolicy], bool]
    """Whether a recording violates it."""


RULES = (
    Rule(
        "not calibrated",
        "calibrated",
        lambda policy: "axes could not be calibrated",
        lambda info, policy: policy.calibrated and not info.calibration["calibrated"],
    ),
    Rule(
        "clipped",
        "max_clipped_share",
        lambda policy: f"more than {100 * policy.max_clipped_share:.3g} % of values clipped",
        lambda info, policy: info.quality["clipped_share"] > policy.max_clipped_share,
    ),
    Rule(
        "wear time",
        "min_wear_hours",
        lambda policy: f"worn for less than {policy.min_wear_hours:g} h",
        lambda info, policy: info.worn_seconds < 3600 * policy.min_wear_hours,
    ),
    Rule(
        "clock hours",
        "every_clock_hour",
        lambda policy: "an hour of the day never worn",
        lambda info, policy: policy.every_clock_hour and min(info.quality["worn_seconds_by_clock_hour"]) == 0,
    ),
    Rule(
        "implausible",
        "max_mean_mg",
        lambda policy: f"mean acceleration of {policy.max_mean_mg:g} mg or more",
        lambda info, policy: info.quality["mean_enmo_mg"] >= policy.max_mean_mg,
    ),
)
"""Rules in the order of the flow table: a recording is counted under the first rule it violates."""


def active_rules(policy: QualityPolicy) -> list[Rule]:
    """The rules for which a policy sets a limit, in order."""
    off = POLICIES["none"]
    return [rule for rule in RULES if getattr(policy, rule.limit) != getattr(off, rule.limit)]


def first_violated_rule(info: RecordingInfo, policy: QualityPolicy) -> Rule | None:
    """The first rule that a recording violates; None if it is kept."""
    return next((rule for rule in RULES if rule.violated_by(info, policy)), None)


@dataclass(frozen=True)
class Flow:
    """Flow of recordings through ingest and a policy, as in a flow diagram of a paper."""

    policy: QualityPolicy
    """The policy."""
    unreadable: int
    """Number of files that could not be ingested."""
    recordings: int
    """Number of recordings in the store."""
    excluded: dict[str, int]
    """Rule -> number of recordings that violate it first; contains every rule."""
    kept: int
    """Number of recordings that violate none."""
    people: int
    """Number of participants with a kept recording."""
    person_days: int
    """Number of calendar days of participants with a worn second in a kept recording."""
    worn_hours: float
    """Wear time in hours in kept recordings."""
    notes: dict[str, int]
    """Kind of note -> number of recordings in the store that have one, most frequent first."""

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; no limit is null."""
        plain = asdict(self)
        plain["policy"] = {key: None if value == math.inf else value for key, value in plain["policy"].items()}
        return plain

    def as_text(self) -> str:
        """The flow table for a terminal."""
        lines = [
            (self.unreadable + self.recordings, "files and recordings in"),
            (-self.unreadable, "could not be read"),
            *(
                (-self.excluded[rule.name], f"{rule.name}: {rule.description(self.policy)}")
                for rule in active_rules(self.policy)
            ),
            (self.kept, f"recordings out: {self.people} people, {self.person_days} person-days, "
                        f"{self.worn_hours:.1f} h worn"),
        ]  # fmt: skip
        lines += [(count, f"in the store with a note: {kind}") for kind, count in self.notes.items()]
        return "\n".join(f"{count:>9,}  {label}" for count, label in lines)


def worn_days(info: RecordingInfo) -> list[int]:
    """Days since 1970, on the recording's clock, with a worn second."""
    into_day = info.first_hour % 24
    starts = range(-into_day, info.hours, 24)
    return [
        (info.first_hour + start) // 24
        for start in starts
        if any(info.worn_seconds_by_hour[max(start, 0) : start + 24])
    ]


def flow(infos: Iterable[RecordingInfo], unreadable: int, policy: QualityPolicy) -> Flow:
    """Apply a policy to the recordings of a store and count."""
    excluded = {rule.name: 0 for rule in RULES}
    days: set[tuple[str, int]] = set()
    noted: Counter[str] = Counter()
    recordings = kept = worn = 0
    for info in infos:
        recordings += 1
        noted.update({note.kind for note in info.notes})
        rule = first_violated_rule(info, policy)
        if rule is not None:
            excluded[rule.name] += 1
            continue
        kept += 1
        worn += info.worn_seconds
        days.update((info.participant, day) for day in worn_days(info))
    people = len({participant for participant, _ in days})
    by_count = dict(sorted(noted.items(), key=lambda item: (-item[1], item[0])))
    return Flow(policy, unreadable, recordings, excluded, kept, people, len(days), worn / 3600, by_count)
