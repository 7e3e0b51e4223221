"""Which recordings are good enough to use: a policy, the rules that it sets limits for, and what each rule leaves out.

The facts are measured once, when a recording is ingested, and kept with it; a policy is applied when shards are made.
So a policy can be changed without reading a device file again, and nothing that was recorded is lost to one.

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
    """Limits; a recording that breaks one is left out of the shards."""

    calibrated: bool = True
    """Leave out recordings whose axes could not be calibrated."""
    max_clipped_share: float = 0.01
    """Leave out recordings with more than this share of their samples at the device's full scale."""
    min_wear_hours: float = 72.0
    """Leave out recordings that were worn for less."""
    every_clock_hour: bool = True
    """Leave out recordings that were never worn in some hour of the day (0 to 23)."""
    max_mean_mg: float = 100.0
    """Leave out recordings whose mean acceleration (ENMO) while worn is this many mg or more."""

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
"""Policies that have a name."""


def find_policy(text: str) -> QualityPolicy:
    """The policy of that name, or the one in that TOML file, whose keys are fields of `QualityPolicy`.

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
    """One reason to leave a recording out."""

    name: str
    """Short, for tables and JSON."""
    limit: str
    """The field of the policy that it goes by."""
    says: Callable[[QualityPolicy], str]
    """What it leaves out under a policy, for people."""
    breaks: Callable[[RecordingInfo, QualityPolicy], bool]
    """Whether a recording breaks it."""


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
"""In the order of the flow table: a recording counts for the first rule that it breaks."""


def in_force(policy: QualityPolicy) -> list[Rule]:
    """The rules that a policy sets a limit for, in their order."""
    off = POLICIES["none"]
    return [rule for rule in RULES if getattr(policy, rule.limit) != getattr(off, rule.limit)]


def broken_rule(info: RecordingInfo, policy: QualityPolicy) -> Rule | None:
    """The first rule that a recording breaks; None if it may be used."""
    return next((rule for rule in RULES if rule.breaks(info, policy)), None)


@dataclass(frozen=True)
class Flow:
    """The flow of recordings through ingest and a policy, as papers show it."""

    policy: QualityPolicy
    """What was asked."""
    unreadable: int
    """Files that were offered and could not be ingested."""
    recordings: int
    """Recordings in the store."""
    excluded: dict[str, int]
    """Rule -> recordings for which it is the first that they break; every rule is there."""
    kept: int
    """Recordings that break none."""
    people: int
    """Participants of those."""
    person_days: int
    """Clock days of participants with a worn second in a kept recording."""
    worn_hours: float
    """Worn hours in kept recordings."""
    notes: dict[str, int]
    """Kind of note -> recordings in the store that have one, the most frequent kind first."""

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
            *((-self.excluded[rule.name], f"{rule.name}: {rule.says(self.policy)}") for rule in in_force(self.policy)),
            (self.kept, f"recordings out: {self.people} people, {self.person_days} person-days, "
                        f"{self.worn_hours:.1f} h worn"),
        ]  # fmt: skip
        lines += [(count, f"in the store with a note: {kind}") for kind, count in self.notes.items()]
        return "\n".join(f"{count:>9,}  {label}" for count, label in lines)


def worn_days(info: RecordingInfo) -> list[int]:
    """Days since 1970, on the recording's clock, with a worn second. By day and not by hour: stores are large."""
    into_day = info.first_hour % 24
    starts = range(-into_day, info.hours, 24)
    return [
        (info.first_hour + start) // 24
        for start in starts
        if any(info.worn_seconds_by_hour[max(start, 0) : start + 24])
    ]


def flow(infos: Iterable[RecordingInfo], unreadable: int, policy: QualityPolicy) -> Flow:
    """Count what a policy does to the recordings of a store."""
    excluded = {rule.name: 0 for rule in RULES}
    days: set[tuple[str, int]] = set()
    noted: Counter[str] = Counter()
    recordings = kept = worn = 0
    for info in infos:
        recordings += 1
        noted.update({note.kind for note in info.notes})
        rule = broken_rule(info, policy)
        if rule is not None:
            excluded[rule.name] += 1
            continue
        kept += 1
        worn += info.worn_seconds
        days.update((info.participant, day) for day in worn_days(info))
    people = len({participant for participant, _ in days})
    by_count = dict(sorted(noted.items(), key=lambda item: (-item[1], item[0])))
    return Flow(policy, unreadable, recordings, excluded, kept, people, len(days), worn / 3600, by_count)
