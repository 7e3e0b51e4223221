"""Clock changes during a recording."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.cohort.store import Cohort
from data_shards.ingest.daylight import Clocks, clock_hours, in_words, seconds_of, wall_shifts, zone
from data_shards.ingest.ingest_options import IngestOptions
from harnet.errors import HarnetError
from launch.cli import main

LONDON = zone("Europe/London")
HERE = Clocks(LONDON)
SPRING = datetime(2023, 3, 26, 1, tzinfo=UTC)  # 01:00 UTC: 01:00 becomes 02:00
AUTUMN = datetime(2023, 10, 29, 1, tzinfo=UTC)  # 01:00 UTC: 02:00 becomes 01:00
WEEK = 7 * 86400


def at(moment: datetime) -> int:
    return int(moment.timestamp())


def test_a_device_on_local_time_does_not_follow_spring_and_autumn() -> None:
    start = at(SPRING) - 2 * 86400  # winter: the wall clock is UTC
    assert wall_shifts("local", start, start + WEEK, HERE) == ({"from_second": at(SPRING), "add_seconds": 3600},)
    start = at(AUTUMN) - 2 * 86400 + 3600  # summer: the device's clock is an hour ahead of UTC
    (shift,) = wall_shifts("local", start, start + WEEK, HERE)
    assert shift == {"from_second": at(AUTUMN) + 3600, "add_seconds": -3600}


def test_a_device_on_utc_is_shifted_from_the_start() -> None:
    start = at(SPRING) - 86400
    kolkata = wall_shifts("utc", start, start + WEEK, Clocks(zone("Asia/Kolkata")))
    assert kolkata == ({"from_second": start, "add_seconds": 19800},)
    assert wall_shifts("utc", start, start + WEEK, HERE) == (
        {"from_second": start, "add_seconds": 0},
        {"from_second": at(SPRING), "add_seconds": 3600},
    )


def test_without_a_clock_or_a_change_there_is_nothing_to_shift() -> None:
    start = at(SPRING) + 86400
    assert wall_shifts("none", 0, WEEK, HERE) == ()
    assert wall_shifts("local", start, start + WEEK, HERE) == ()
    assert wall_shifts("local", at(SPRING) - 100, at(SPRING) - 1, HERE) == ()


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "", "Europe"])
def test_unknown_zones_are_told(name: str) -> None:
    with pytest.raises(HarnetError, match=r"--timezone .*: no such time zone: pass a name such as Europe/London"):
        zone(name)


@given(
    start=st.integers(0, 2_000_000_000),
    hours=st.integers(1, 2400),
    name=st.sampled_from(["Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia"]),
    clock=st.sampled_from(["utc", "local"]),
)
@settings(deadline=None, max_examples=60)
def test_hours_are_those_of_the_wall(start: int, hours: int, name: str, clock: str) -> None:
    place = ZoneInfo(name)
    shifts = wall_shifts(clock, start, start + hours * 3600, Clocks(place))
    assert [shift["from_second"] for shift in shifts] == sorted({shift["from_second"] for shift in shifts})
    seconds = start + np.arange(0, hours * 3600, 1799)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first = epoch + timedelta(seconds=start)
    set_to = timedelta(0) if clock == "utc" else first.replace(tzinfo=place).utcoffset()
    assert set_to is not None
    wall = [(epoch + timedelta(seconds=int(second)) - set_to).astimezone(place).hour for second in seconds]
    assert clock_hours(seconds, shifts).tolist() == wall


def test_the_notes_say_what_happened() -> None:
    start = at(SPRING) - 86400
    for clock, when in (("local", "2023-03-26 01:00"), ("utc", "2023-03-26 01:00")):
        (note,) = in_words(wall_shifts(clock, start, start + WEEK, HERE), start, clock, LONDON)
        assert f"Europe/London went forward 60 min at {when}" in note.detail
    start = at(AUTUMN) - 86400
    (note,) = in_words(wall_shifts("local", start, start + WEEK, HERE), start, "local", LONDON)
    assert "went back 60 min at 2023-10-29 02:00" in note.detail


NEW_YORK = zone("America/New_York")


def hours(
    start: int, seconds: list[int], clocks: Clocks, clock: str = "local", utc_offset: int | None = None
) -> list[int]:
    shifts = wall_shifts(clock, start, start + 30 * 86400, clocks, utc_offset)
    return clock_hours(start + np.array(seconds), shifts).tolist()


def test_a_device_that_was_set_elsewhere() -> None:
    noon = at(datetime(2023, 3, 1, 12, tzinfo=UTC))  # as shown by the device
    there = Clocks(LONDON, NEW_YORK)
    assert hours(noon, [0, 3600], there) == [17, 18]
    # New York's clocks go forward on 12 March and the device's do not; London's go forward on 26 March.
    assert hours(noon, [20 * 86400, 26 * 86400], there) == [17, 18]
    assert hours(noon, [0], there, "utc") == [12]
    assert hours(noon, [0], there, "none") == [12]
    # The file's own statement about its clock is used, but the user's option takes precedence.
    assert hours(noon, [0, 26 * 86400], HERE, utc_offset=-5 * 3600) == [17, 18]
    assert hours(noon, [0, 26 * 86400], HERE, utc_offset=0) == [12, 13]
    assert hours(noon, [0], Clocks(LONDON, LONDON), utc_offset=-5 * 3600) == [12]
    (note,) = in_words(wall_shifts("local", noon, noon + 86400, there), noon, "local", LONDON)
    assert str(note) == "clock of another place: 1 (Europe/London was 300 min ahead of the device's clock)"


def test_a_device_whose_clock_was_wrong() -> None:
    noon = at(datetime(2023, 3, 1, 12, tzinfo=UTC))
    assert hours(noon, [0], Clocks(behind=7200)) == [14]
    assert hours(noon, [0], Clocks(LONDON, behind=-7200)) == [10]
    assert hours(noon, [0], Clocks(zone("Asia/Kolkata"), behind=1800), "utc") == [18]
    assert hours(noon, [0], Clocks(behind=7200), "none") == [12]
    # The clock change is determined by the corrected time.
    start = at(SPRING) - 86400 - 3600
    assert wall_shifts("local", start, start + WEEK, Clocks(LONDON, behind=3600)) == (
        {"from_second": start, "add_seconds": 3600},
        {"from_second": at(SPRING) - 3600, "add_seconds": 7200},
    )


@pytest.mark.parametrize("behind", [90, -3600, 86400])
def test_a_wrong_clock_is_not_one_of_another_place(behind: int) -> None:
    noon = at(datetime(2023, 3, 1, 12, tzinfo=UTC))
    here = wall_shifts("local", noon, noon + 86400, Clocks(LONDON, behind=behind))
    assert in_words(here, noon, "local", LONDON, behind) == ()
    there = wall_shifts("local", noon, noon + 86400, Clocks(LONDON, NEW_YORK, behind))
    (note,) = in_words(there, noon, "local", LONDON, behind)
    assert note.detail == "Europe/London was 300 min ahead of the device's clock"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("-3600", -3600), ("1:30", 5400), ("-0:00:20", -20), ("+01:00", 3600), ("0", 0)]
)
def test_a_shift_in_words(text: str, seconds: int) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "1h", "1:3", "1:75", "0:00:60", "1.5", "--5", "9" * 20])
def test_a_shift_that_is_none(text: str) -> None:
    with pytest.raises(HarnetError, match=r"--time-shift .*: pass seconds"):
        seconds_of(text)


def test_clocks_on_the_command_line(tmp_path: Path) -> None:
    rows = [f"2023-03-01T12:00:{i // 20:02d}.{i % 20 * 5:02d},0,{i % 2 / 50},1" for i in range(1200)]
    (tmp_path / "p.csv").write_text("\n".join(["time,x,y,z", *rows]))
    command = ["ingest", str(tmp_path / "p.csv"), "--quality", "none", "--out"]
    options = ["--timezone", "Europe/London", "--clock-timezone", "America/New_York", "--time-shift=-1:00"]
    assert main([*command, str(tmp_path / "c.zarr"), *options]) == 0
    info = Cohort.open(tmp_path / "c.zarr").info("p")
    assert np.flatnonzero(info.quality["worn_seconds_by_clock_hour"]).tolist() == [16]
    (note,) = info.notes
    assert str(note) == "clock of another place: 1 (Europe/London was 300 min ahead of the device's clock)"
    assert info.first_hour % 24 == 12  # the signal stays on the device's clock
    said = {"timezone": "Europe/London", "clock_timezone": "America/New_York", "time_shift": "-3600"}
    assert said.items() <= info.source["settings"].items()
    assert main([*command, str(tmp_path / "c.zarr"), *options[:2]]) == 1  # ingested with other settings
    with pytest.raises(HarnetError, match="--clock-timezone America/New_York: pass --timezone too"):
        IngestOptions(clock_timezone="America/New_York")
    with pytest.raises(HarnetError, match="--clock-timezone 'Mars': no such time zone"):
        IngestOptions(timezone="Europe/London", clock_timezone="Mars")
