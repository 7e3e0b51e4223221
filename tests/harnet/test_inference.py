"""Windows of many recordings in full batches, with prefetch; a failure in one recording does not affect others."""

from collections.abc import Callable, Iterator
from threading import Event

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import nn

from harnet.apply.inference import Pieces, batches, outputs
from harnet.apply.summaries import WearSums
from harnet.encoder import Encoder
from harnet.errors import HarnetError


def recording(first: int, pieces: list[int], broken: bool = False) -> Callable[[], Pieces]:
    """Windows whose value is their start time, in pieces of the given size."""

    def read() -> Pieces:
        start = first
        for count in pieces:
            starts = np.arange(start, start + count)
            yield starts, np.broadcast_to(starts[:, None, None], (count, 3, 4)).astype(np.float32)
            start += count
        if broken:
            raise HarnetError(f"recording {first} is broken")

    return read


@given(pieces=st.lists(st.lists(st.integers(0, 9), max_size=4), min_size=1, max_size=5), size=st.integers(1, 8))
def test_every_window_once_in_order_and_all_batches_but_the_last_full(pieces: list[list[int]], size: int) -> None:
    found = list(batches([recording(1000 * (n + 1), each) for n, each in enumerate(pieces)], size, torch.device("cpu")))
    seen: dict[int, list[int]] = {number: [] for number in range(len(pieces))}
    for number, batch in enumerate(found):
        rows = sum(len(share.starts) for share in batch.shares)
        assert rows == size or number == len(found) - 1
        starts = np.concatenate([share.starts for share in batch.shares])
        if batch.windows is not None:
            assert batch.windows.shape == (size, 3, 4)
            assert batch.windows[:, 0, 0].tolist() == [*starts.tolist(), *[0.0] * (size - rows)]
        for share in batch.shares:
            seen[share.place] += share.starts.tolist()
    assert [seen[n] for n in seen] == [[*range(1000 * (n + 1), 1000 * (n + 1) + sum(p))] for n, p in enumerate(pieces)]
    assert [share.place for batch in found for share in batch.shares if share.ended] == list(range(len(pieces)))


class Doubled(nn.Module):
    """Twice the first value of each window."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.shapes: set[torch.Size] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.shapes.add(x.shape)
        return self.factor * x[:, 0, :1]


def test_results_come_back_to_their_recordings_and_an_error_ends_one_alone() -> None:
    model = Doubled()
    reading = [recording(10, [2, 3]), recording(20, [3], broken=True), recording(30, []), recording(40, [1])]
    rows: dict[int, list[float]] = {place: [] for place in range(4)}
    ended: list[tuple[int, str]] = []
    for share, found in outputs(model, reading, 4, lambda x: x):
        rows[share.place] += found[:, 0].tolist() if len(found) else []
        if share.ended:
            ended.append((share.place, str(share.error or "")))
    assert rows == {0: [20, 22, 24, 26, 28], 1: [40, 42, 44], 2: [], 3: [80]}
    assert ended == [(0, ""), (1, "recording 20 is broken"), (2, ""), (3, "")]
    assert model.shapes == {torch.Size([4, 3, 4])}


def test_batches_are_computed_at_the_same_time_and_handed_out_in_order() -> None:
    """The first batch ends only after the third has begun, which requires three threads."""
    third = Event()

    class Waiting(Doubled):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = x[0, 0, 0].item()
            assert first != 10 or third.wait(60)
            if first == 18:
                third.set()
            return super().forward(x)

    found = outputs(Waiting(), [recording(10, [30])], 4, lambda x: x, threads=3)
    assert [row for _, rows in found if len(rows) for row in rows[:, 0].tolist()] == list(range(20, 80, 2))


def test_what_comes_of_a_window_does_not_depend_on_the_threads() -> None:
    encoder = Encoder("harnet5", width=8).eval()
    windows = np.random.default_rng(0).normal(0, 0.3, (50, 3, 150)).astype(np.float32)

    def features(threads: int, together: int) -> NDArray[np.float32]:
        before = torch.get_num_threads()
        torch.set_num_threads(together)
        try:
            found = outputs(encoder, [lambda: [(np.arange(50), windows)]], 8, lambda y: y.flatten(1), threads=threads)
            return np.concatenate([rows for _, rows in found if len(rows)])
        finally:
            torch.set_num_threads(before)

    expected = features(1, 1)
    for threads, together in ((2, 1), (5, 1), (1, 2)):
        assert np.array_equal(features(threads, together), expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_gives_the_features_of_the_cpu_whatever_is_under_way() -> None:
    """Copies overlap with kernels: each result must belong to its own batch, and no window may be overwritten."""
    random = np.random.default_rng(0)
    windows = random.normal(0, 0.3, (500, 3, 150)).astype(np.float32)

    def read() -> Pieces:
        for part in np.array_split(np.arange(500), 9):
            yield part, windows[part]

    encoder = Encoder("harnet5", width=8).eval()
    with torch.inference_mode():
        expected = encoder(torch.from_numpy(windows)).flatten(1).numpy()
    encoder.cuda()
    for precision, tolerance in (("fp32", 1e-3), ("bf16", 3e-2)):
        found = np.concatenate([rows for _, rows in outputs(encoder, [read], 64, lambda y: y.flatten(1), precision)
                                if len(rows)])  # fmt: skip
        assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_a_fault_in_the_reading_thread_is_raised() -> None:
    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        yield from ()
        raise ZeroDivisionError

    try:
        list(outputs(Doubled(), [read], 4, lambda x: x))
    except ZeroDivisionError:
        return
    raise AssertionError("the fault was lost")


@given(cuts=st.lists(st.integers(0, 300), max_size=6))
def test_sums_are_the_same_to_the_last_bit_in_whatever_pieces(cuts: list[int]) -> None:
    random = np.random.default_rng(0)
    wall, values = np.sort(random.integers(0, 200_000, 300)), random.normal(0, 1, (300, 64)).astype(np.float32)
    whole, pieces = WearSums(64, 10), WearSums(64, 10)
    whole.add(wall, values)
    for part in np.split(np.arange(300), sorted(cuts)):
        pieces.add(wall[part], values[part])
    assert np.array_equal(whole.finished().sums, pieces.finished().sums)
    assert np.array_equal(whole.finished().sums_by_hour, pieces.finished().sums_by_hour)
