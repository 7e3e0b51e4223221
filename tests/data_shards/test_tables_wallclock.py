"""Tables in local time: clock changes, clocks that were reset, and stamps an hour off."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from data_shards.readers import ReadOptions, load
from data_shards.readers.tables import lines
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.table_files import notes, signal


def wall(true: NDArray[np.float64], change: float, by: float) -> NDArray[np.float64]:
    """Times of a wall clock that is put forward by `by` seconds at the time `change`."""
    return np.where(true < change, true, true + by)


def written(folder: Path, local: NDArray[np.float64], **options: object) -> Loaded:
    """The same as text in local time."""
    stamps = np.datetime_as_string(np.rint(local * 1000).astype("int64").astype("datetime64[ms]"))
    rows = [
        ",".join([stamp, *(f"{v:.4f}" for v in row)]) for stamp, row in zip(stamps, signal(len(local)), strict=True)
    ]
    path = folder / "p.csv"
    path.write_text("\n".join(["time,x,y,z", *rows]) + "\n")
    (found,) = load(path, ReadOptions(**options))  # type: ignore[arg-type]
    return found.recording


BACK = 1_698_544_800.0  # 2023-10-29 02:00, when clocks in London go back to 01:00
ISLAND = 1_696_125_600.0  # 2023-10-01 02:00 on Lord Howe Island, when they go forward by half an hour
DATE_LINE = 1_325_203_200.0  # 2011-12-30, a day that Samoa skipped
FORWARD = 1_679_792_400.0  # 2023-03-26 01:00, when they go forward to 02:00


@pytest.mark.parametrize("piece", [1 << 12, 1 << 23])
@pytest.mark.parametrize("pause", [0.0, 600.0])
@pytest.mark.parametrize(("change", "by"), [(BACK, -3600.0), (FORWARD, 3600.0)])
def test_changes_of_the_clocks(
    change: float, by: float, pause: float, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    true = change - 20 + np.arange(2000) / 50
    if pause:
        if by > 0:
            pytest.skip("after a pause nobody knows")
        true = np.where(true < change, true - pause, true + pause)
    found = written(tmp_path, wall(true, change, by), timezone="Europe/London")
    assert found.clock == "local"
    np.testing.assert_allclose(found.times, true, atol=1e-6)
    assert not found.notes


@pytest.mark.parametrize(
    ("timezone", "change", "by"),
    [
        ("Australia/Lord_Howe", ISLAND, 1800.0),
        ("Antarctica/Troll", FORWARD, 7200.0),
        ("Pacific/Apia", DATE_LINE, 86_400.0),
    ],
)
def test_changes_by_other_than_an_hour(timezone: str, change: float, by: float, tmp_path: Path) -> None:
    true = change - 20 + np.arange(2000) / 50
    found = written(tmp_path, wall(true, change, by), timezone=timezone)
    np.testing.assert_allclose(found.times, true, atol=1e-6)


def test_a_clock_that_shows_an_hour_that_is_skipped_is_not_set_forward(tmp_path: Path) -> None:
    """The device kept its clock through that night, and an hour was lost on the way."""
    times = FORWARD + 300 + np.arange(2000) / 50
    times[1000:] += 3600
    found = written(tmp_path, times, timezone="Europe/London")
    np.testing.assert_allclose(found.times, times, atol=1e-6)


@pytest.mark.parametrize(
    ("timezone", "message"),
    [
        (
            None,
            "an hour in line 1,002: if the clocks went back there, pass the wearer's time zone with --timezone",
        ),
        ("Asia/Tokyo", "go back by an hour in line 1,002, when the clocks in Asia/Tokyo did not: is --timezone right"),
    ],
)
def test_an_hour_back_without_the_right_zone(timezone: str | None, message: str, tmp_path: Path) -> None:
    local = wall(BACK - 20 + np.arange(2000) / 50, BACK, -3600)
    with pytest.raises(HarnetError, match=message) as caught:
        written(tmp_path, local, timezone=timezone)
    if timezone is None:  # the page of examples quotes this message
        page = (Path(__file__).parents[2] / "docs" / "ingest.md").read_text()
        assert str(caught.value).partition("line 1,002")[2] in page


@pytest.mark.parametrize("timezone", [None, "Europe/London"])
@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("index", [1, 2000, 3990])
def test_a_few_local_times_an_hour_behind_are_no_change_of_the_clocks(
    index: int, count: int, timezone: str | None, tmp_path: Path
) -> None:
    moments = np.datetime64("2024-05-31T12:00:00", "ms") + (10 * np.arange(4000)).astype("timedelta64[ms]")
    moments[index : index + count] -= np.timedelta64(1, "h")
    rows = [f"{moment},{x},{y},{z}" for moment, (x, y, z) in zip(moments, signal(4000).tolist(), strict=True)]
    (tmp_path / "p.csv").write_text("\n".join(["time,x,y,z", *rows]) + "\n")
    (found,) = load(tmp_path / "p.csv", ReadOptions(timezone=timezone))
    assert notes(found.recording) == {"isolated stamps": count}
    assert np.diff(found.recording.times).max() == pytest.approx(0.01 * (count + 1), abs=1e-6)


def test_a_clock_that_was_reset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"goes back by 7,200 s in line 1,002 and continues.*Split the file there"):
        written(tmp_path, wall(BACK - 86400 + np.arange(2000) / 50, BACK - 86380, -7200))
