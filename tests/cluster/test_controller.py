"""The controller is down for a while: this affects all jobs, so no story runs at the same time."""

from concurrent.futures import Future
from pathlib import Path

import pytest

from launch.cli import main
from tests.cluster.cluster import Cluster, eventually
from tests.cluster.stories import Row
from tests.cluster.submitted import PATIENCE, Submitted, losses, options
from tests.cluster.test_faults import logged_step


def test_the_controller_may_restart(
    cluster: Cluster, shards: Path, tmp_path: Path, profile: Path, undisturbed: Future[dict[int, float]],
    rows: list[Row],
) -> None:  # fmt: skip
    run = Submitted(shards, tmp_path / "run", profile)
    step = run.wait_for_step(6).step
    cluster.stop_controller()
    assert run.now.state == "unknown"
    eventually(lambda: logged_step(run.run) > step + 1, PATIENCE, "steps without a controller")
    cluster.start_controller()
    assert run.wait_for("finished").restarts == 0
    assert losses(run.run) == undisturbed.result()
    rows.append(
        ("controller restart", "It is killed, and started again some steps later.", "not counted", "0", "same losses")
    )


def test_without_a_controller_nothing_is_submitted_and_one_line_says_why(
    cluster: Cluster, shards: Path, tmp_path: Path, profile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    cluster.stop_controller()
    try:
        assert main(["submit", "pretrain", "--profile", str(profile), *options(shards, tmp_path / "run")]) == 1
        error = capsys.readouterr().err
    finally:
        cluster.start_controller()
    assert "`sinfo --noheader --format=%R`: Slurm does not respond (" in error
    assert "try again in a few minutes" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
