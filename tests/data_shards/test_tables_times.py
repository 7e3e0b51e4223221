"""Sample times of tables: shared stamps, bunches, gaps, nominal rates."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from data_shards.readers import ReadOptions, load, parquet
from data_shards.readers.tables import timeline
from data_shards.recording import Loaded
from harnet.errors import HarnetError

START = 1_700_000_000


def signal(count: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(5).normal(0, 0.05, (count, 3)).astype(np.float32)
    noise[:, 2] += 1
    return noise


def table(folder: Path, times: NDArray[np.float64], **options: object) -> Loaded:
    """A recording with these stamps and the samples of `signal`, read from Parquet."""
    x, y, z = signal(len(times)).T
    path = folder / "p.parquet"
    pq.write_table(pa.table({"time": times, "x": x, "y": y, "z": z}), path)
    (found,) = load(path, ReadOptions(**options))  # type: ignore[arg-type]
    return found.recording


def notes(of: Loaded) -> dict[str, int]:
    return {note.kind: note.count for note in of.notes}


def longest_step(of: Loaded) -> float:
    return float(np.diff(of.times).max())


@pytest.mark.parametrize("unit", [1.0, 0.1, 60.0])
@pytest.mark.parametrize("rate", [20.0, 19.96, 32.0, 100.0])
@pytest.mark.parametrize("begin", [0.0, 0.37])
@pytest.mark.parametrize("piece", [3000, 1 << 18])
def test_stamps_that_many_samples_share(
    unit: float, rate: float, begin: float, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PIECE_ROWS", piece)
    monkeypatch.setattr(timeline, "LEAST_SETTLED", piece)
    if unit * rate < 3:
        pytest.skip("few samples share a timestamp")
    true = START + begin + np.arange(int(max(60, 6 * unit) * rate)) / rate
    found = table(tmp_path, np.floor(true / unit + 1e-6) * unit)
    assert list(notes(found)) == ["times spread"]
    assert found.nominal_rate == pytest.approx(rate, rel=0.01)
    np.testing.assert_array_equal(found.acceleration, signal(len(true)))
    assert np.abs(found.times - true).max() < max(unit / 10, 2 / rate)
    assert longest_step(found) < 2 / rate


@pytest.mark.parametrize("by", [0.3, 0.9])
@pytest.mark.parametrize("count", [1, 9])
@pytest.mark.parametrize("index", [0, 1, 2000])
@pytest.mark.parametrize("piece", [500, 1 << 18])
def test_a_few_stamps_less_than_a_second_ahead(
    by: float, count: int, index: int, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PIECE_ROWS", piece)
    monkeypatch.setattr(timeline, "LEAST_SETTLED", piece)
    true = START + np.arange(4000) / 100
    stamps = true + by * ((np.arange(4000) >= index) & (np.arange(4000) < index + count))
    found = table(tmp_path, stamps)
    assert notes(found) == {"isolated stamps": count}
    np.testing.assert_array_equal(found.times, np.delete(true, slice(index, index + count)))


@pytest.mark.parametrize("lost", [np.float32, lambda true: np.rint(true / 1000) * 1000])
def test_stamps_that_lost_digits_are_refused(lost: Callable[[NDArray[np.float64]], NDArray], tmp_path: Path) -> None:
    true = START + np.arange(8000 * 20) / 20
    with pytest.raises(HarnetError, match=r"rounded to (128|1,000) s, first in row 1: export them with all digits"):
        table(tmp_path, lost(true))
    with pytest.raises(HarnetError, match="all samples have the same timestamp: export it with all digits"):
        table(tmp_path, lost(true[:900]))


def test_seconds_with_irregular_numbers_are_refused_or_take_a_rate(tmp_path: Path) -> None:
    counts = np.random.default_rng(1).integers(40, 101, 60)
    stamps = np.repeat(START + np.arange(60.0), counts)
    with pytest.raises(HarnetError, match=r"many samples share a timestamp \(each 1 s\).*irregular.*--rate"):
        table(tmp_path, stamps)
    found = table(tmp_path, stamps, rate=100.0)
    assert found.nominal_rate == 100
    assert len(found.times) == len(stamps)
    assert longest_step(found) <= 1
    with pytest.raises(HarnetError, match=r"--rate 20: there are more samples than that before row"):
        table(tmp_path, stamps, rate=20.0)


@pytest.mark.parametrize("seconds", [30, 900])
def test_even_stamps_of_a_device_faster_than_the_given_rate(seconds: int, tmp_path: Path) -> None:
    times = START + np.arange(round(seconds * 100.1)) / 100.1
    found = table(tmp_path, times, rate=100.0)
    assert set(notes(found)) <= {"times spread"}
    np.testing.assert_allclose(found.times, times, atol=0.0201)


@pytest.mark.parametrize("rate", [80, 100, 128, 512])
@pytest.mark.parametrize("digits", [2, 3, 6])
def test_the_nominal_rate_whatever_the_digits(rate: int, digits: int, tmp_path: Path) -> None:
    true = START + np.arange(rate * 30) / rate
    found = table(tmp_path, np.floor(true * 10**digits + 1e-3) / 10**digits)
    assert found.nominal_rate == rate
    assert np.abs(found.times - true).max() < 1.5 / 10**digits
    assert len(found.times) == len(true)


@pytest.mark.parametrize("lost", ["singly", "a second"])
@pytest.mark.parametrize("rate", [19.96, 25, 31.25, 50, 64, 85.7, 100, 128, 256, 512, 1600])
def test_the_nominal_rate_of_a_device_that_loses_samples(rate: float, lost: str, tmp_path: Path) -> None:
    true = START + np.arange(max(3000, 12 * rate)) / rate
    there = np.random.default_rng(1).random(len(true)) > 0.1 * (lost == "singly")
    there[len(true) // 4 :][: int(rate * 1.2)] &= lost == "singly"
    found = table(tmp_path, np.round(true[there], 6 if rate > 300 else 3))
    assert found.nominal_rate == pytest.approx(rate, rel=2e-3)


@pytest.mark.parametrize("rate", [20.0, 100.0])
@pytest.mark.parametrize("piece", [700, 1 << 18])
def test_pauses_among_stamps_that_many_samples_share(
    rate: float, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PIECE_ROWS", piece)
    monkeypatch.setattr(timeline, "LEAST_SETTLED", piece)
    seconds = np.arange(int(60 * rate)) / rate
    paused = (seconds % 20 >= 7.3) & (seconds % 20 < 10.6)
    true = START + 0.3 + seconds[~paused]
    found = table(tmp_path, np.floor(true + 1e-6))
    assert np.abs(found.times - true).max() < 2 / rate
    assert (np.diff(found.times) > 1).sum() == 3


def test_samples_that_catch_up_after_a_pause_are_irregular(tmp_path: Path) -> None:
    true = START + np.arange(6000) / 100
    stamps = np.floor(true + 1e-6)
    for second in (20, 40):
        stamps[(stamps >= START + second) & (stamps < START + second + 3)] = START + second + 3
    with pytest.raises(HarnetError, match=r"irregular numbers: pass the sampling rate"):
        table(tmp_path, stamps)


def test_a_lost_second_stays_a_gap(tmp_path: Path) -> None:
    stamps = np.repeat(START + np.delete(np.arange(60.0), 30), 50)
    found = table(tmp_path, stamps)
    assert longest_step(found) == pytest.approx(1.02)


def late(rate: float, seconds: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True times, and the stamps of a watch that sometimes stalls and stamps on arrival, in whole ms."""
    draws = np.random.default_rng(seed)
    true = START + np.arange(int(rate * seconds)) / rate
    arrival = true + draws.uniform(0, 0.002, len(true))
    for stall in draws.choice(int(len(true) - 3 * rate), max(int(seconds / 10), 3), replace=False):
        end = true[stall] + draws.uniform(0.1, 1.5)
        waiting = (true >= true[stall]) & (true < end)
        arrival[waiting] = np.maximum(arrival[waiting], end + draws.uniform(0, 0.003, waiting.sum()).cumsum() / 10)
    return true, np.round(np.maximum.accumulate(arrival), 3)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rate=st.sampled_from([20.0, 25.0, 50.0, 100.0]), seconds=st.sampled_from([30.0, 300.0]), seed=st.integers(0, 999)
)
def test_bunches_are_spread_by_the_mean_rate(rate: float, seconds: float, seed: int, tmp_path: Path) -> None:
    true, stamps = late(rate, seconds, seed)
    found = table(tmp_path, stamps)
    assert list(notes(found)) == ["times spread"]
    assert len(found.times) == len(true)
    assert found.nominal_rate == pytest.approx(rate, rel=0.005)
    assert longest_step(found) < 2.5 / rate
    assert np.median(np.abs(found.times - true)) < 0.01


@pytest.mark.parametrize("piece", [512, 1 << 18])
def test_a_gap_among_bunches_stays_a_gap(piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PIECE_ROWS", piece)
    monkeypatch.setattr(timeline, "LEAST_SETTLED", piece)
    _, stamps = late(50, 300, 1)
    kept = np.delete(stamps, slice(5000, 5000 + 150))
    found = table(tmp_path, kept)
    assert len(found.times) == len(kept)
    assert longest_step(found) == pytest.approx(3.02, abs=0.05)
    assert (np.diff(found.times) > 2.5 / 50).sum() == 1
    found = table(tmp_path, np.concatenate([stamps[:5000], stamps[5000:] + 1000]))
    assert longest_step(found) == pytest.approx(1000, abs=2)


def test_a_rate_that_changes_is_not_evened_out(tmp_path: Path) -> None:
    stamps = START + np.concatenate([np.arange(3000) / 50, 60 + np.arange(6000) / 100])
    np.testing.assert_array_equal(table(tmp_path, stamps).times, stamps)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_pieces_make_no_difference(data: st.DataObject, tmp_path: Path) -> None:
    rate = data.draw(st.sampled_from([19.96, 50.0, 100.0]))
    stamps = START + np.arange(5000) / rate
    for index in data.draw(st.lists(st.integers(0, 4999), max_size=8, unique=True)):
        kind = data.draw(st.sampled_from(["twice", "ahead", "behind", "pause"]))
        if kind == "twice":
            stamps[index] = stamps[max(index - 1, 0)]
        elif kind == "pause":
            stamps[index:] += data.draw(st.sampled_from([0.5, 30.0, 4000.0]))
        else:
            stamps[index] += 1e6 if kind == "ahead" else -1e6
    whole = table(tmp_path, stamps)
    size = data.draw(st.integers(200, 3000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "PIECE_ROWS", size)
        patch.setattr(timeline, "LEAST_SETTLED", size)
        pieces = table(tmp_path, stamps)
    np.testing.assert_allclose(pieces.times, whole.times, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(pieces.acceleration, whole.acceleration)
    assert notes(pieces) == notes(whole)


def test_a_table_in_reverse_order_is_refused_without_false_advice(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="backward times: 2,999 of 3,000"):
        table(tmp_path, START - np.arange(3000) / 100)


@pytest.mark.parametrize("piece", [500, 1 << 18])
@pytest.mark.parametrize("first", [1.5, 29.0, 90.0])
def test_seconds_from_the_start_that_start_again_are_refused(
    first: float, piece: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PIECE_ROWS", piece)
    monkeypatch.setattr(timeline, "LEAST_SETTLED", piece)
    parts = [np.arange(0, first, 0.01), np.arange(0, 100 * first, 0.01)]
    where = rf"row {len(parts[0]) + 1:,} and continue from there: another recording begins: split the file there"
    with pytest.raises(HarnetError, match=where):
        table(tmp_path, np.concatenate(parts))
