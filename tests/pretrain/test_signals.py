"""Requests to stop a run, and what its child processes see of them."""

import signal
import subprocess

import pytest

from pretrain.run.signals import StopRequest, signals_blocked_in_children


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR2])
def test_a_signal_is_a_request_and_only_a_second_interrupt_does_not_wait(number: int) -> None:
    before = [signal.getsignal(each) for each in StopRequest.SIGNALS]
    with StopRequest() as stop:
        assert not stop.requested
        signal.raise_signal(number)
        assert stop.requested
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGUSR2)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(each) for each in StopRequest.SIGNALS] == before


def blocked_in_a_child() -> set[int]:
    status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")), 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_children_ignore_what_stops_the_run() -> None:
    outside = blocked_in_a_child()
    with StopRequest() as stop:
        with signals_blocked_in_children():
            assert blocked_in_a_child() == outside | set(StopRequest.SIGNALS)
            signal.raise_signal(signal.SIGTERM)
            assert not stop.requested
        assert stop.requested, "a signal that came meanwhile is delivered afterwards"
    assert blocked_in_a_child() == outside
