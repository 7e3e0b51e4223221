"""Progress in a log file: whole lines, one per stage."""

import os
import subprocess
import sys

import pytest

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
    from harnet import progress

    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LOG_LINES", 0.0)
    with progress.bar(3, "long", "file") as shown:
        for _ in range(3):
            shown.update()
    lines = capsys.readouterr().err.splitlines()
    assert ["1/3" in lines[0], "2/3" in lines[1], "3/3" in lines[-1]] == [True, True, True]
