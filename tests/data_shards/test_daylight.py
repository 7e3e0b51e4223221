"""Clocks that change while a device records."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_shards.ingest.daylight import clock_hours, in_words, wall_shifts, zone
from harnet.errors import HarnetError

LONDON = zone("Europe/London")
SPRING = datetime(2023, 3, 26, 1, tzinfo=UTC)  # 01:00 UTC: 01:00 becomes 02:00
AUTUMN = datetime(2023, 10, 29, 1, tzinfo=UTC)  # 01:00 UTC: 02:00 becomes 01:00
WEEK = 7 * 86400


def at(moment: datetime) -> int:
    return int(moment.timestamp())


def test_a_device_on_local_time_does_not_follow_spring_and_autumn() -> None:
    start = at(SPRING) - 2 * 86400  # winter: the wall clock is UTC
    assert wall_shifts("local", start, start + WEEK, LONDON) == ({"from_second": at(SPRING), "add_seconds": 3600},)
    start = at(AUTUMN) - 2 * 86400 + 3600  # summer: the device's clock is an hour ahead of UTC
    (shift,) = wall_shifts("local", start, start + WEEK, LONDON)
    assert shift == {"from_second": at(AUTUMN) + 3600, "add_seconds": -3600}


def test_a_device_on_utc_is_shifted_from_the_start() -> None:
    start = at(SPRING) - 86400
    kolkata = wall_shifts("utc", start, start + WEEK, zone("Asia/Kolkata"))
    assert kolkata == ({"from_second": start, "add_seconds": 19800},)
    assert wall_shifts("utc", start, start + WEEK, LONDON) == (
        {"from_second": start, "add_seconds": 0},
        {"from_second": at(SPRING), "add_seconds": 3600},
    )


def test_without_a_clock_or_a_change_there_is_nothing_to_shift() -> None:
    start = at(SPRING) + 86400
    assert wall_shifts("none", 0, WEEK, LONDON) == ()
    assert wall_shifts("local", start, start + WEEK, LONDON) == ()
    assert wall_shifts("local", at(SPRING) - 100, at(SPRING) - 1, LONDON) == ()


@pytest.mark.parametrize("name", ["Europe/Atlantis", "../../etc/passwd", "/etc/localtime", "", "Europe"])
def test_unknown_zones_are_told(name: str) -> None:
    with pytest.raises(HarnetError, match=r"--timezone .*: no such time zone: give a name such as Europe/London"):
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
    shifts = wall_shifts(clock, start, start + hours * 3600, place)
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
        (note,) = in_words(wall_shifts(clock, start, start + WEEK, LONDON), clock, LONDON)
        assert f"Europe/London went forward 60 min at {when}" in note.detail
    start = at(AUTUMN) - 86400
    (note,) = in_words(wall_shifts("local", start, start + WEEK, LONDON), "local", LONDON)
    assert "went back 60 min at 2023-10-29 02:00" in note.detail
