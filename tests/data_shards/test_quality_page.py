import csv
import dataclasses
import html.parser
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_shards.cohort.info import RecordingInfo, WallShift
from data_shards.cohort.store import Cohort
from data_shards.layout import MISSING, SAMPLES_PER_HOUR, SECONDS_PER_HOUR
from data_shards.notes import Note
from data_shards.quality import picture
from data_shards.quality.histogram import WIDTH, histogram
from data_shards.quality.policy import POLICIES, RULES, QualityPolicy
from data_shards.quality.quality_page import FACTS, write_report
from data_shards.synthetic.people import person
from data_shards.synthetic.record import record
from data_shards.synthetic.synth_options import SynthOptions
from harnet.errors import HarnetError
from harnet.parts import Part

POLICY = POLICIES["uk-biobank"]
DAYS = 4


@pytest.fixture(scope="module")
def one() -> tuple[RecordingInfo, np.ndarray, np.ndarray]:
    """A synthetic recording without its signal: facts, motion and wear of four days."""
    info, data = record(person(0, 5), SynthOptions(DAYS), 5)
    return info, data.motion, data.wear


def named(info: RecordingInfo, name: str, **changes: object) -> RecordingInfo:
    return dataclasses.replace(info, recording=name, participant=name, **changes)


@pytest.fixture(scope="module")
def spoilt(one: tuple, tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """One good recording, one that breaks each rule, and two files that could not be read."""
    cohort = Cohort.create(tmp_path_factory.mktemp("quality") / "spoilt.zarr")
    info, motion, wear = one
    calibration, quality = info.calibration, info.quality
    # The signal is not used here, and a constant one is quick to store.
    accel = np.zeros((3, info.hours * SAMPLES_PER_HOUR), np.int16)
    half = np.where(np.arange(len(wear)) < len(wear) // 2, wear, 0).astype(np.uint8)
    gone = motion.copy()
    gone[30 * 3600 : 40 * 3600] = 0
    no_night = [0 if hour in (3, 4) else seconds for hour, seconds in enumerate(quality["worn_seconds_by_clock_hour"])]
    change = (info.first_hour + 25) * SECONDS_PER_HOUR
    for each, moved, worn in (
        (named(info, "good"), motion, wear),
        (
            named(info, "a-tilted", calibration=calibration | {"calibrated": False, "reason": "12 windows"}),
            motion,
            wear,
        ),
        (named(info, "b-clipped", quality=quality | {"clipped_share": 0.05}), motion, wear),
        (named(info, "c-short", worn_seconds_by_hour=tuple(half.reshape(-1, 3600).sum(axis=1).tolist())), motion, half),
        (named(info, "d-nights", quality=quality | {"worn_seconds_by_clock_hour": no_night}), motion, wear),
        (named(info, "e-wild", quality=quality | {"mean_enmo_mg": 250.0}), motion, wear),
        (
            named(
                info,
                "spring",
                wall_shifts=(WallShift(from_second=change, add_seconds=3600),),
                notes=(Note("cut end", 1, "<script>alert(1)</script>"),),
                device='"><img src=x onerror=alert(2)>',
            ),
            gone,
            np.where(gone > 0, wear, 0).astype(np.uint8),
        ),
    ):
        cohort.write(each, accel, moved, worn)
    return cohort


@pytest.fixture(scope="module")
def report(spoilt: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "quality"
    write_report(spoilt, out, POLICY, pictures=1000, workers=1)
    return out


def test_only_pages_that_are_missing_or_out_of_date_are_drawn(
    spoilt: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_shards.quality.quality_page.PER_PAGE", 2)
    copy = Cohort.open(shutil.copytree(spoilt.root, tmp_path / "cohort.zarr"))

    def written(part: str, policy: QualityPolicy = POLICY) -> dict[str, int]:
        write_report(copy, tmp_path / "out", policy, pictures=1000, workers=1, part=Part.parse(part))
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.html")}

    parts = [written(part) for part in ("2/3", "3/3", "1/3")]
    assert [sorted(each) for each in parts[:2]] == [["page-0002.html"], ["page-0002.html", "page-0003.html"]]
    whole = written("1/1")
    assert whole == parts[-1]
    assert len(whole) == 4
    (tmp_path / "out" / "page-0003.html").unlink()
    again = written("1/1")
    assert {name for name in whole if again[name] != whole[name]} == {"page-0003.html"}
    os.utime(copy.root / "good", ns=(1, 1))
    touched = written("1/1")
    assert {name for name in whole if again[name] != touched[name]} == {"page-0003.html"}


class Tags(html.parser.HTMLParser):
    """Counts of tags, all attribute values of a page, and whether all tags are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.values: list[tuple[str, str, str]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.values += [(tag, name, value or "") for name, value in attrs]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.values += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_flow_and_table_say_which_rule_left_out_whom(report: Path) -> None:
    flow = json.loads((report / "flow.json").read_text())
    assert flow["recordings"] == 7
    assert flow["kept"] == 2
    assert flow["excluded"] == {rule.name: 1 for rule in RULES}
    with (report / "recordings.csv").open(newline="") as file:
        rows = {row["recording"]: row for row in csv.DictReader(file)}
    assert [rows[name]["excluded_by"] for name in sorted(rows)] == [*(rule.name for rule in RULES), "", ""]
    assert rows["c-short"]["rules_broken"] == "wear time"
    assert rows["d-nights"]["clock_hours_never_worn"] == "2"
    assert float(rows["e-wild"]["mean_enmo_mg"]) == 250
    assert rows["a-tilted"]["calibration_reason"] == "12 windows"


def test_the_page_is_whole_and_holds_nothing_but_itself(report: Path) -> None:
    tags = Tags((report / "index.html").read_text())
    assert tags.open == []
    assert tags.count["article"] == 7
    assert "script" not in tags.count
    assert "img" not in tags.count
    linked = {value for tag, name, value in tags.values if name in ("href", "src")}
    assert linked == {"data:,", "flow.json", "recordings.csv"}
    pictures = [value for tag, name, value in tags.values if name == "aria-label" and value.startswith("Motion of ")]
    assert len(pictures) == 7


def test_the_excluded_come_first_in_the_order_of_the_rules(report: Path) -> None:
    page = (report / "index.html").read_text()
    places = [
        page.index(f"<h3>{name}</h3>") for name in ("a-tilted", "b-clipped", "c-short", "d-nights", "e-wild", "good")
    ]
    assert places == sorted(places)
    assert "never worn in the hours from 3, 4 o&#39;clock" in page
    assert "not calibrated: 12 windows" in page


def test_what_files_say_is_shown_as_text(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "<img" not in page


def test_a_page_is_light(report: Path) -> None:
    size = (report / "index.html").stat().st_size
    assert size / 7 < 30_000


def test_many_recordings_make_many_pages(spoilt: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data_shards.quality.quality_page.PER_PAGE", 3)
    stale = tmp_path / "page-0009.html"
    stale.write_text("of an earlier run")
    write_report(spoilt, tmp_path, POLICY, pictures=5, workers=1)
    pages = sorted(path.name for path in tmp_path.glob("*.html"))
    assert pages == ["index.html", "page-0002.html"]
    assert [Tags((tmp_path / page).read_text()).count["article"] for page in pages] == [3, 2]
    assert "Plots of 5 of 7 recordings" in (tmp_path / "index.html").read_text()
    assert 'href="page-0002.html"' in (tmp_path / "index.html").read_text()
    assert len((tmp_path / "recordings.csv").read_text().splitlines()) == 8
    write_report(spoilt, tmp_path, POLICY, pictures=0, workers=1)
    assert Tags((tmp_path / "index.html").read_text()).count.get("article") is None


def test_the_number_of_workers_changes_no_byte(
    spoilt: Cohort, report: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(spoilt, tmp_path / "two", POLICY, pictures=1000, workers=2)
    for path in report.iterdir():
        assert (tmp_path / "two" / path.name).read_bytes() == path.read_bytes()


def test_an_empty_store_and_wrong_options(tmp_path: Path) -> None:
    empty = Cohort.create(tmp_path / "empty.zarr")
    audited = write_report(empty, tmp_path / "out", POLICY, pictures=10, workers=1)
    assert audited.flow.kept == 0
    assert "no recording has a value" in (tmp_path / "out" / "index.html").read_text()
    with pytest.raises(HarnetError, match="--pictures -1"):
        write_report(empty, tmp_path / "out", POLICY, pictures=-1, workers=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(HarnetError, match="is a file"):
        write_report(empty, tmp_path / "file", POLICY, pictures=1, workers=1)


def test_spreadsheets_meet_no_formula(one: tuple, tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "c.zarr")
    info, motion, wear = one
    source = info.source | {"name": "=HYPERLINK(1)"}
    accel = np.full((3, info.hours * SAMPLES_PER_HOUR), MISSING, np.int16)
    cohort.write(named(info, "p", device="+device", source=source), accel, motion, wear)
    write_report(cohort, tmp_path / "out", POLICY, pictures=0, workers=1)
    with (tmp_path / "out" / "recordings.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["device"], row["source"]) == ("'+device", "'=HYPERLINK(1)")


def spans(row: picture.DayRow, kind: str) -> list[tuple[int, int]]:
    return [(shade.x, shade.x + shade.width) for shade in row.shades if shade.kind == kind]


def rows_of(info: RecordingInfo, motion: np.ndarray, wear: np.ndarray) -> list[picture.DayRow]:
    return picture.day_rows(info, motion.astype(np.float32), wear.astype(np.uint8))


def test_days_are_rows_and_what_was_not_worn_or_recorded_is_shaded(one: tuple) -> None:
    info = dataclasses.replace(one[0], hours=30, first_hour=480_002, wall_shifts=())  # 02:00 of a day
    motion, wear = np.full(30 * 3600, 0.02), np.ones(30 * 3600)
    motion[:3600], wear[:3600] = 0, 0
    wear[5 * 3600 : 6 * 3600] = 0
    first, second = rows_of(info, motion, wear)
    hour = picture.WIDTH // 24
    assert first.label == f"{datetime.fromtimestamp(480_000 * 3600, UTC):%a %d %b %Y}"
    assert spans(first, "missing") == [(0, 3 * hour)]
    assert spans(first, "not-worn") == [(7 * hour, 8 * hour)]
    assert spans(second, "missing") == [(8 * hour, 24 * hour)]
    assert second.y > first.y


def test_rows_follow_the_wall_clock(one: tuple) -> None:
    base = dataclasses.replace(one[0], hours=24, first_hour=480_000, clock="local")
    motion, wear = np.full(24 * 3600, 0.02), np.ones(24 * 3600)
    hour = picture.WIDTH // 24
    noon = 480_012 * 3600
    spring = dataclasses.replace(base, wall_shifts=(WallShift(from_second=noon, add_seconds=3600),))
    first, second = rows_of(spring, motion, wear)
    assert spans(first, "missing") == [(12 * hour, 13 * hour)]
    assert first.shifts == (picture.Shift(13 * hour, "clock +1 h"),)
    assert spans(second, "missing") == [(hour, 24 * hour)]
    autumn = dataclasses.replace(base, wall_shifts=(WallShift(from_second=noon, add_seconds=-3600),))
    (only,) = rows_of(autumn, motion, wear)
    assert spans(only, "missing") == [(23 * hour, 24 * hour)]
    assert only.shifts == (picture.Shift(11 * hour, "clock -1 h"),)
    # A time zone, or the correction of a clock, sets where the rows begin; it is not a clock change.
    motion[:1234], wear[:1234] = 0, 0
    away = WallShift(from_second=480_000 * 3600 + 1234, add_seconds=5 * 3600 + 1800)
    later = WallShift(from_second=noon, add_seconds=4 * 3600 + 1800)
    for clock in ("utc", "local"):
        first, second = rows_of(dataclasses.replace(base, clock=clock, wall_shifts=(away, later)), motion, wear)
        assert spans(first, "missing") == [(0, 5 * hour + hour // 2 + 20 // picture.BIN_MINUTES)]
        assert first.shifts == (picture.Shift(16 * hour + hour // 2, "clock -1 h"),)
        assert second.shifts == ()
    (numbered,) = rows_of(dataclasses.replace(base, clock="none", first_hour=0, wall_shifts=()), motion, wear)
    assert numbered.label == "day 1"


@given(st.lists(st.tuples(st.booleans(), st.integers(1, picture.HEIGHT)), min_size=1, max_size=60))
def test_an_outline_can_be_read_back(bins: list[tuple[bool, int]]) -> None:
    worn, levels = (np.array(values) for values in zip(*bins, strict=True))
    drawn = dict.fromkeys(range(len(bins)), 0)
    for part in filter(None, picture._outline(worn, levels).split("M")):
        steps = part.removesuffix("z").replace("h", " h").replace("v", " v").split()
        x, y = int(steps[0]), int(steps[1])
        for step in steps[2:]:
            size = int(step[1:])
            if step[0] == "v":
                y -= size
            else:
                drawn.update(dict.fromkeys(range(x, x + size), y - picture.HEIGHT))
                x += size
        assert y == picture.HEIGHT
    assert drawn == {x: int(level) if on else 0 for x, (on, level) in enumerate(bins)}


@given(st.lists(st.floats(0, 1e4), min_size=1, max_size=50), st.one_of(st.none(), st.floats(0, 2e4)))
def test_a_histogram_counts_everybody_within_its_field(values: list[float], limit: float | None) -> None:
    found = histogram("Wear", "h", values, limit)
    counts = [int(bar.title.rsplit(": ", 1)[1].replace(",", "")) for bar in found.bars]
    assert sum(counts) == len(values)
    assert max(counts) == found.most
    assert all(0 <= bar.x <= bar.x + bar.width <= WIDTH for bar in found.bars)
    assert len(found.bars) <= 30
    assert found.limit is None or 0 <= found.limit <= WIDTH


def test_facts_are_in_words(one: tuple) -> None:
    info = dataclasses.replace(one[0], quality=one[0].quality | {"interruptions": 2, "interrupted_seconds": 90.0})
    said = {label: say(info) for label, say in FACTS}
    assert said["Interruptions"] == "2, in all 1.5 min"
    assert "mg once calibrated, from" in said["Calibration"]
    assert "of 96.0 h recorded; every hour of the day covered" in said["Wear"]


@pytest.fixture(scope="module")
def browse(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Open a page in headless Chromium, with a new profile each time."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("needs chromium on the PATH")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        profile = tmp_path_factory.mktemp("profile")
        quiet = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--hide-scrollbars"]  # fmt: skip
        command = [chromium, "--headless", "--no-sandbox", *quiet, f"--user-data-dir={profile}"]
        command += ["--enable-logging=stderr", "--window-size=1000,1400", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    return run


def test_a_browser_shows_it_without_complaint(browse: Callable, report: Path, tmp_path: Path) -> None:
    shot = tmp_path / "page.png"
    url = (report / "index.html").as_uri()
    done = browse(f"--screenshot={shot}", url)
    assert "CONSOLE" not in done.stderr
    assert shot.read_bytes().startswith(b"\x89PNG")
    dumped = browse("--dump-dom", url).stdout
    tags = Tags(dumped)
    assert tags.count["article"] == 7
    assert tags.count["svg"] >= 7
