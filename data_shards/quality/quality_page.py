"""Self-contained HTML pages of the quality report: no scripts, no external resources."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from data_shards.cohort.info import SYNTHETIC, RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.parallel import run_all
from data_shards.quality import picture
from data_shards.quality.audit import Audit, audit
from data_shards.quality.histogram import HEIGHT, WIDTH, Histogram, histogram
from data_shards.quality.policy import RULES, QualityPolicy, active_rules
from harnet.errors import HarnetError
from harnet.files import write_atomically
from harnet.html.templates import page_environment
from harnet.parts import Part

PER_PAGE = 100
"""Plotted recordings per page, about 2 MB."""
UNREADABLE_SHOWN = 200
"""Maximum number of files listed on the first page that could not be ingested."""
HOURS_LISTED = 8
"""Maximum number of hours of the day without wear to list; if there are more, only their number is shown."""


@dataclass(frozen=True)
class RecordingPage:
    """One page to write."""

    number: int
    """Page number, from 1."""
    names: tuple[str, ...]
    """Its recordings."""
    audited: Audit | None
    """Summary above the recordings on the first page; None on the others."""

    @property
    def file_name(self) -> str:
        """File name; the first page is index.html."""
        return file_name(self.number)


def file_name(number: int) -> str:
    """File of a page."""
    return "index.html" if number == 1 else f"page-{number:04d}.html"


def write_report(
    cohort: Cohort, out: Path, policy: QualityPolicy, pictures: int, workers: int, part: Part | None = None
) -> Audit:
    """Write flow.json, recordings.csv and the pages to the folder `out`, which is created if missing.

    At most `pictures` recordings are plotted, those excluded by the policy first; the table lists all. Existing pages
    of the same recordings and policy are not drawn again. With `part`, only its pages are drawn.

    Raises:
        HarnetError: `pictures` is negative, `out` is a file, or a recording of the store is damaged.
    """
    if pictures < 0:
        raise HarnetError(f"--pictures {pictures}: must be 0 or more")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise HarnetError(f"{out}: is a file: pass the name of a folder for the report") from None
    audited = audit(cohort, policy, out / "recordings.csv")
    drawn = audited.names[:pictures]
    chunks = [drawn[start : start + PER_PAGE] for start in range(0, len(drawn), PER_PAGE)] or [()]
    pages = [RecordingPage(index + 1, names, None if index else audited) for index, names in enumerate(chunks)]
    work = partial(_write_page, cohort=cohort, out=out, policy=policy, pages=len(pages), drawn=len(drawn))
    drawing = pages if part is None else part.of(pages)
    run_all(work, drawing, workers, "quality report", "page")
    keep = {page.file_name for page in pages}
    for stale in out.glob("page-[0-9][0-9][0-9][0-9].html"):
        if stale.name not in keep:
            stale.unlink()
    write_atomically(out / "flow.json", json.dumps(audited.flow.as_dict(), indent=2) + "\n")
    return audited


def _write_page(page: RecordingPage, cohort: Cohort, out: Path, policy: QualityPolicy, pages: int, drawn: int) -> None:
    made_of = _made_of(page, cohort, policy, pages, drawn)
    path = out / page.file_name
    if path.exists() and made_of.encode() in _head(path):
        return
    recordings = [_recording(cohort, name, policy) for name in page.names]
    template = page_environment(Path(__file__).parent).get_template("page.html.j2")
    html = template.render(
        made_of=made_of,
        cohort=cohort.root.name,
        version=importlib.metadata.version("harnet"),
        number=page.number,
        pages=[(number, file_name(number)) for number in range(1, pages + 1)],
        summary=_summary(page.audited, drawn) if page.audited else None,
        recordings=recordings,
        picture=picture,
        field=(WIDTH, HEIGHT),
    )
    write_atomically(path, html)


def _made_of(page: RecordingPage, cohort: Cohort, policy: QualityPolicy, pages: int, drawn: int) -> str:
    """Digest of everything a page shows; a recording that was written again has another time stamp."""
    stamps = [(cohort.root / name).stat().st_mtime_ns for name in page.names]
    shown = [importlib.metadata.version("harnet"), page, policy, pages, drawn, cohort.root.name, stamps]
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(1024)


def _summary(audited: Audit, drawn: int) -> dict[str, Any]:
    """Content of the summary on the first page."""
    counts = audited.flow.excluded
    rules = [
        (rule.name, rule.description(audited.policy), counts[rule.name], audited.broken[rule.name])
        for rule in active_rules(audited.policy)
    ]
    return {
        "flow": audited.flow,
        "rules": rules,
        "boxes": [("could not be read", audited.flow.unreadable), *((says, count) for _, says, count, _ in rules)],
        "histograms": _histograms(audited),
        "synthetic": audited.synthetic,
        "unreadable": audited.unreadable[:UNREADABLE_SHOWN],
        "recordings": len(audited.names),
        "drawn": drawn,
    }


def _histograms(audited: Audit) -> list[Histogram]:
    policy = audited.policy
    return [
        histogram("Wear time", "h", audited.wear_hours, policy.min_wear_hours or None),
        histogram("Mean acceleration, ENMO", "mg", audited.enmo_mg, policy.max_mean_mg),
        histogram("Calibration error as recorded", "mg", audited.error_before_mg),
        histogram("Calibration error once calibrated", "mg", audited.error_after_mg),
    ]


def _recording(cohort: Cohort, name: str, policy: QualityPolicy) -> dict[str, Any]:
    """What the page shows about one recording."""
    opened = cohort.open_recording(name)
    info = opened.info
    motion, wear = (np.asarray(opened.group[part][:]) for part in ("motion", "wear"))  # type: ignore[index]
    return {
        "info": info,
        "synthetic": info.device == SYNTHETIC,
        "broken": [rule.description(policy) for rule in RULES if rule.violated_by(info, policy)],
        "facts": [(label, say(info)) for label, say in FACTS],
        "rows": picture.day_rows(info, motion, wear),
    }


def _calibration(info: RecordingInfo) -> str:
    found = info.calibration
    if not found["calibrated"]:
        return f"not calibrated: {found['reason']}"
    return (
        f"{found['error_before_mg']:.1f} mg as recorded, {found['error_after_mg']:.1f} mg once calibrated, "
        f"from {found['still_windows']:,} still windows"
    )


def _interruptions(info: RecordingInfo) -> str:
    count = info.quality["interruptions"]
    if not count:
        return "none"
    return f"{count:,}, in all {_long(info.quality['interrupted_seconds'])}"


def _wear(info: RecordingInfo) -> str:
    never = [str(hour) for hour, seconds in enumerate(info.quality["worn_seconds_by_clock_hour"]) if not seconds]
    if not never:
        hours = "every hour of the day covered"
    elif len(never) <= HOURS_LISTED:
        hours = f"never worn in the hours from {', '.join(never)} o'clock"
    else:
        hours = f"never worn in {len(never)} of the 24 hours of the day"
    return f"{_long(info.worn_seconds)} worn of {_long(info.complete_seconds)} recorded; {hours}"


def _long(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds >= 7200 else f"{seconds / 60:.1f} min"


FACTS: tuple[tuple[str, Callable[[RecordingInfo], str]], ...] = (
    ("Wear", _wear),
    ("Mean acceleration", lambda info: f"{info.quality['mean_enmo_mg']:.1f} mg (ENMO)"),
    ("Calibration", _calibration),
    ("Clipped", lambda info: f"{info.quality['clipped_share']:.3%} of samples at the device's full scale"),
    ("Interruptions", _interruptions),
    ("Device", lambda info: f"{info.device}, {info.nominal_rate:g} Hz, clock: {info.clock}"),
)
"""Rows of text for each recording."""
