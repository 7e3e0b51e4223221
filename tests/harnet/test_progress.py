"""Progress in a log file: whole lines, one per stage."""

import os
import subprocess
import sys

import pytest
from tqdm._monitor import TMonitor

from harnet import progress

STAGES = """
import sys
from harnet.progress import bar
with bar(50, "first", "file") as shown:
    for _ in range(50):
        shown.update()
        shown.set_postfix(loss="0.5", refresh=False)
with bar(3, "second", "step", initial=1) as shown:
    shown.update(2)
with bar(5, "other rank", "step", show=False) as shown:
    shown.update(5)
{end}
"""


@pytest.mark.parametrize("end", ["", "with bar(9, 'broken', 'file') as shown:\n    shown.update(4)\n    sys.exit(1)"])
def test_output_that_is_no_terminal_gets_one_whole_line_a_stage(end: str) -> None:
    done = subprocess.run([sys.executable, "-c", STAGES.format(end=end)], capture_output=True, check=False)
    lines = done.stderr.decode().splitlines()
    assert b"\r" not in done.stderr
    assert done.stderr.endswith(b"\n")
    assert [line.split(":")[0] for line in lines] == ["first", "second", *(["broken"] if end else [])]
    assert "50/50" in lines[0]
    assert "loss=0.5" in lines[0]
    if end:
        assert "4/9" in lines[2]


def test_the_environment_hides_all_bars() -> None:
    environment = os.environ | {"TQDM_DISABLE": "1"}
    command = [sys.executable, "-c", STAGES.format(end="")]
    assert subprocess.run(command, capture_output=True, check=True, env=environment).stderr == b""


def test_a_stage_that_takes_long_tells_in_between(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line is whole at once: a program that forwards a log line by line would hold back an unfinished one."""
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LOG_LINES", 0.0)
    with progress.bar(3, "long", "file") as shown:
        for done in range(1, 4):
            shown.update()
            (line,) = capsys.readouterr().err.splitlines(keepends=True)
            assert f" {done}/3 [" in line
            assert line.endswith("]\n")
    assert "long: 100% 3/3 [" in capsys.readouterr().err


class Once:
    """Ends tqdm's monitor after one round."""

    rounds = 0

    def wait(self, seconds: float) -> None:
        self.rounds += 1

    def is_set(self) -> bool:
        return self.rounds > 1


def test_one_line_per_interval_however_uneven_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half an hour of steps of a second, then one of twenty minutes; tqdm's monitor looks after each step."""
    now = 0.0
    monkeypatch.setattr(progress._Lines, "monitor_interval", 0)
    monitor = TMonitor.__new__(TMonitor)
    monitor.__dict__.update(tqdm_cls=progress._Lines, sleep_interval=0, _time=lambda: now)
    with progress.bar(2000, "training", "step") as shown:
        shown.start_t = shown.last_print_t = now
        shown._time = lambda: now
        for seconds in [1.0] * 1800 + [1200.0]:
            now += seconds
            shown.update()
            monitor.was_killed = Once()
            monitor.run()
    done = [line.split()[2] for line in capsys.readouterr().err.splitlines()]
    assert done == [f"{step}/2000" for step in (600, 1200, 1800, 1801, 1801)]
