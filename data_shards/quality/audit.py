"""One pass over the metadata of all recordings: applies a policy and produces a table, a flow and histograms.

Only a few numbers per recording are kept in memory, so that a cohort of 100,000 fits anywhere.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from data_shards.cohort.info import SYNTHETIC, RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.quality.policy import RULES, Flow, QualityPolicy, Rule, flow
from harnet.errors import one_line
from harnet.files import atomic_path


@dataclass(frozen=True)
class Audit:
    """Result of applying a policy to a store."""

    policy: QualityPolicy
    """The policy."""
    flow: Flow
    """Counts by rule."""
    broken: dict[str, int]
    """Rule -> number of recordings that violate it, whatever other rules they violate; contains every rule."""
    names: tuple[str, ...]
    """All recordings: excluded ones first, in the order of the rules, then the others; by name within each group."""
    wear_hours: tuple[float, ...]
    """Wear time of each recording in hours."""
    enmo_mg: tuple[float, ...]
    """Mean ENMO of each recording in mg."""
    error_before_mg: tuple[float, ...]
    """Calibration error in mg as recorded, of recordings with enough still windows."""
    error_after_mg: tuple[float, ...]
    """The same after calibration."""
    synthetic: int
    """Number of synthetic recordings."""
    unreadable: tuple[tuple[str, str], ...]
    """(file, reason) of files that could not be ingested."""


def audit(cohort: Cohort, policy: QualityPolicy, table: Path) -> Audit:
    """Apply the policy to every recording of a store and write one row per recording to the CSV file `table`."""
    infos = _Statistics()
    unreadable = tuple((one_line(file), one_line(reason)) for file, reason in cohort.unreadable())
    with atomic_path(table) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        counted = flow(infos.watch(cohort.infos(), policy, writer), len(unreadable), policy)
    return Audit(
        policy=policy,
        flow=counted,
        broken=infos.broken,
        names=tuple(name for _, name in sorted(infos.order)),
        wear_hours=tuple(infos.wear_hours),
        enmo_mg=tuple(infos.enmo_mg),
        error_before_mg=tuple(infos.error_before_mg),
        error_after_mg=tuple(infos.error_after_mg),
        synthetic=infos.synthetic,
        unreadable=unreadable,
    )


COLUMNS = (
    "recording", "participant", "device", "source", "clock", "starts", "hours", "complete_hours", "worn_hours",
    "mean_enmo_mg", "calibrated", "calibration_reason", "calibration_error_before_mg", "calibration_error_after_mg",
    "still_windows", "clipped_share", "interruptions", "interrupted_hours", "clock_hours_never_worn", "excluded_by",
    "excluded_because", "rules_broken", "notes",
)  # fmt: skip
"""Columns of recordings.csv."""


class _Statistics:
    """Collects statistics from the metadata as they are streamed to the flow."""

    def __init__(self) -> None:
        self.broken = {rule.name: 0 for rule in RULES}
        self.order: list[tuple[int, str]] = []
        self.wear_hours: list[float] = []
        self.enmo_mg: list[float] = []
        self.error_before_mg: list[float] = []
        self.error_after_mg: list[float] = []
        self.synthetic = 0

    def watch(
        self, infos: Iterator[RecordingInfo], policy: QualityPolicy, writer: "csv.DictWriter[str]"
    ) -> Iterator[RecordingInfo]:
        """Yield each item after recording its values."""
        for info in infos:
            broken = [rule for rule in RULES if rule.violated_by(info, policy)]
            for rule in broken:
                self.broken[rule.name] += 1
            self.order.append((RULES.index(broken[0]) if broken else len(RULES), info.recording))
            self.wear_hours.append(info.worn_seconds / 3600)
            self.enmo_mg.append(info.quality["mean_enmo_mg"])
            if info.calibration["error_before_mg"] >= 0:
                self.error_before_mg.append(info.calibration["error_before_mg"])
            if info.calibration["calibrated"]:
                self.error_after_mg.append(info.calibration["error_after_mg"])
            self.synthetic += info.device == SYNTHETIC
            writer.writerow(row(info, broken, policy))
            yield info


def row(info: RecordingInfo, broken: Sequence[Rule], policy: QualityPolicy) -> dict[str, str | int]:
    """A recording's row of the table, with the rules it violates; unknown values are empty."""
    calibration, quality = info.calibration, info.quality
    starts = "" if info.clock == "none" else f"{datetime.fromtimestamp(info.first_hour * 3600, UTC):%Y-%m-%dT%H:%M}"
    errors = (calibration["error_before_mg"], calibration["error_after_mg"])
    before, after = (f"{error:.2f}" if error >= 0 else "" for error in errors)
    values: tuple[str | int, ...] = (
        _text(info.recording),
        _text(info.participant),
        _text(info.device),
        _text(info.source["name"]),
        info.clock,
        starts,
        info.hours,
        f"{info.complete_seconds / 3600:.3f}",
        f"{info.worn_seconds / 3600:.3f}",
        f"{quality['mean_enmo_mg']:.2f}",
        int(calibration["calibrated"]),
        _text(calibration["reason"]),
        before,
        after,
        calibration["still_windows"],
        f"{quality['clipped_share']:.6f}",
        quality["interruptions"],
        f"{quality['interrupted_seconds'] / 3600:.3f}",
        sum(seconds == 0 for seconds in quality["worn_seconds_by_clock_hour"]),
        broken[0].name if broken else "",
        broken[0].description(policy) if broken else "",
        "; ".join(rule.name for rule in broken),
        _text("; ".join(map(str, info.notes))),
    )
    return dict(zip(COLUMNS, values, strict=True))


def _text(value: str) -> str:
    """Text from a file, escaped so that a spreadsheet does not interpret it as a formula."""
    value = one_line(value)
    return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
