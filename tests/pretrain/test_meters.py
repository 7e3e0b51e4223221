"""Log entries of an interval, measured with a clock that the test sets."""

from types import SimpleNamespace

import pytest
import torch

from pretrain.parallel.distributed import Process
from pretrain.run import meters
from pretrain.run.meters import Meters


class Clock:
    now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(meters, "time", SimpleNamespace(perf_counter=made.perf_counter))
    return made


def test_speed_is_windows_over_the_time_of_training(clock: Clock) -> None:
    """Three steps of 8 windows in 4 s, of which 1 s waits for data; 10 s of evaluation are not counted."""
    found = Meters(Process(0, 1, torch.device("cpu")), window_share=0.01)
    for loss in (1.0, 2.0, 6.0):
        clock.now += 1.0
        found.add({"loss": torch.tensor(loss)}, windows=8, rate=loss / 10, skipped=1)
    with found.waiting():
        clock.now += 1.0
    with found.paused():
        clock.now += 10.0
    values = found.means()
    assert values["windows_per_second"] == pytest.approx(6.0)
    assert values["windows_per_second_per_process"] == pytest.approx(6.0)
    assert values["model_flops_utilisation"] == pytest.approx(0.06)
    assert values["share_waiting_for_data"] == pytest.approx(0.25)
    assert (values["loss"], values["learning_rate"], values["skipped_blocks"]) == (3.0, 0.6, 3)
    clock.now += 2.0
    found.add({"loss": torch.tensor(4.0)}, windows=8, rate=0.1, skipped=0)
    values = found.means()
    assert (values["windows_per_second"], values["loss"]) == (pytest.approx(4.0), 4.0)
    assert values["skipped_blocks"] == 3, "those are counted from the start"


class OneOfFour(Process):
    """One of four processes with equal values."""

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        return values * 4


def test_with_several_processes_the_batch_is_counted_once(clock: Clock) -> None:
    """`windows` is the global batch; losses and waiting times are means over processes, damage is a sum."""
    found = Meters(OneOfFour(0, 4, torch.device("cpu")), window_share=0.01)
    with found.waiting():
        clock.now += 1.0
    clock.now += 1.0
    found.add({"loss": torch.tensor(3.0)}, windows=80, rate=0.1, skipped=2)
    values = found.means()
    assert values["windows_per_second"] == pytest.approx(40.0)
    assert values["windows_per_second_per_process"] == pytest.approx(10.0)
    assert values["model_flops_utilisation"] == pytest.approx(0.1)
    assert (values["loss"], values["share_waiting_for_data"], values["skipped_blocks"]) == (3.0, 0.5, 8)
