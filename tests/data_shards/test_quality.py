"""Which recordings a policy excludes, and how the flow table counts them."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_shards.cohort.info import Calibration, Quality, RecordingInfo
from data_shards.ingest.calibration import not_calibrated
from data_shards.quality.policy import POLICIES, RULES, QualityPolicy, find_policy, first_violated_rule, flow, worn_days
from harnet.errors import HarnetError
from tests.recording_info import INFO

CALIBRATED = Calibration(**{**not_calibrated(""), "calibrated": True})
QUALITY = Quality(
    clipped_share=0.0,
    interruptions=0,
    interrupted_seconds=0.0,
    worn_seconds_by_clock_hour=[25_200] * 24,
    mean_enmo_mg=28.0,
)
GOOD = replace(
    INFO,
    first_hour=24 * 19_000,
    hours=168,
    clock="local",
    worn_seconds_by_hour=(3600,) * 168,
    complete_seconds=168 * 3600,
    calibration=CALIBRATED,
    quality=QUALITY,
)


def with_quality(**values: object) -> RecordingInfo:
    return replace(GOOD, quality=Quality(**{**QUALITY, **values}))  # type: ignore[typeddict-item]


BAD = {
    "not calibrated": replace(GOOD, calibration=not_calibrated("too short")),
    "clipped": with_quality(clipped_share=0.0101),
    "wear time": replace(GOOD, worn_seconds_by_hour=(3600,) * 71 + (3599,) + (0,) * 96),
    "clock hours": with_quality(worn_seconds_by_clock_hour=[25_200] * 23 + [0]),
    "implausible": with_quality(mean_enmo_mg=100.0),
}
AT_THE_LIMIT = {
    "clipped": with_quality(clipped_share=0.01),
    "wear time": replace(GOOD, worn_seconds_by_hour=(3600,) * 72 + (0,) * 96),
    "clock hours": with_quality(worn_seconds_by_clock_hour=[1] * 24),
    "implausible": with_quality(mean_enmo_mg=99.99),
}


@given(first=st.integers(0, 500_000), worn=st.lists(st.sampled_from([0, 0, 0, 1, 3600]), min_size=1, max_size=200))
def test_worn_days_are_those_with_a_worn_hour(first: int, worn: list[int]) -> None:
    info = replace(GOOD, first_hour=first, hours=len(worn), worn_seconds_by_hour=tuple(worn))
    assert worn_days(info) == sorted({(first + hour) // 24 for hour, seconds in enumerate(worn) if seconds})


@pytest.mark.parametrize("name", BAD)
def test_each_rule_leaves_out_what_it_says(name: str) -> None:
    rule = first_violated_rule(BAD[name], POLICIES["uk-biobank"])
    assert rule is not None
    assert rule.name == name
    assert first_violated_rule(BAD[name], POLICIES["none"]) is None
    if name in AT_THE_LIMIT:
        assert first_violated_rule(AT_THE_LIMIT[name], POLICIES["uk-biobank"]) is None


def test_the_flow_adds_up_and_a_recording_counts_for_its_first_rule() -> None:
    both = replace(BAD["not calibrated"], quality=BAD["implausible"].quality)
    twin = replace(GOOD, recording="p1-2", first_hour=GOOD.first_hour + 12)  # the same person, half a day later
    half = replace(GOOD, recording="p2", participant="p2", worn_seconds_by_hour=(0,) * 24 + (3600,) * 144)
    infos = [*BAD.values(), both, GOOD, twin, half]
    table = flow(infos, 3, POLICIES["uk-biobank"])
    assert table.excluded == {rule.name: 1 + (rule.name == "not calibrated") for rule in RULES}
    assert table.recordings == table.kept + sum(table.excluded.values()) == 9
    assert (table.people, table.person_days) == (2, 8 + 6)
    assert table.worn_hours == 168 + 168 + 144
    text = table.as_text().splitlines()
    counts = [int(line.split()[0].replace(",", "")) for line in text]
    assert counts[0] + sum(counts[1:-1]) == counts[-1] == 3
    assert "2 people, 14 person-days, 480.0 h worn" in text[-1]
    assert json.loads(json.dumps(table.as_dict(), allow_nan=False))["excluded"]["clipped"] == 1
    nothing = flow(infos, 3, POLICIES["none"]).as_dict()
    assert (nothing["kept"], nothing["policy"]["max_mean_mg"]) == (9, None)


def test_policies_come_from_a_name_or_a_file(tmp_path: Path) -> None:
    assert find_policy("uk-biobank") == QualityPolicy(True, 0.01, 72.0, True, 100.0)
    path = tmp_path / "mine.toml"
    path.write_text("min_wear_hours = 16\nevery_clock_hour = false\nmax_mean_mg = inf\n")
    assert find_policy(str(path)) == QualityPolicy(min_wear_hours=16, every_clock_hour=False, max_mean_mg=math.inf)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wear = 1", "unknown key 'wear'"),
        ("calibrated = 1", "calibrated is 1; give true or false"),
        ("min_wear_hours = true", "min_wear_hours is True; give a number"),
        ("max_mean_mg = '5'", "max_mean_mg is '5'; give a number"),
        ("max_mean_mg = -5", "max_mean_mg is -5; it must be at least 0"),
        ("max_mean_mg = nan", "max_mean_mg is nan; it must be at least 0"),
        ("max_clipped_share = 1.5", "max_clipped_share is 1.5; a share is 1 at most"),
        ("min_wear_hours = inf", "min_wear_hours is infinite"),
        ("max_mean_mg", "not TOML"),
    ],
)
def test_a_policy_that_cannot_be_is_told(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(HarnetError, match=message):
        find_policy(str(path))
    with pytest.raises(HarnetError, match="neither one of uk-biobank, none nor a TOML file"):
        find_policy("uk-biobnk")
