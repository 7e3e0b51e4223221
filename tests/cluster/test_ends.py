"""Runs that end, or change, for reasons other than a transient fault: a full disk, a bug, a person, fewer nodes."""

import errno
import json
import os
import shutil
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest

from harnet.run_folder import CHECKPOINTS, STARTS
from launch.records import entries
from launch.slurm import expand
from launch.watch import status
from pretrain.command import Command
from pretrain.run import checkpoint
from tests.cluster.cluster import OWN, eventually
from tests.cluster.stories import Scene, Story
from tests.cluster.submitted import COMMAND_LINE, PATIENCE, STEPS, Submitted, harnet, held, losses, options
from tests.pretrain.runs import together


def four_nodes_become_three_and_the_global_batches_stay(scene: Scene) -> None:
    eventually(lambda: len(scene.cluster.idle("own")) == OWN, PATIENCE, "four nodes that no other job uses")
    run = scene.submit("--nodes", "4", "--min-nodes", "3", site='partition = "own"')
    run.wait_for_step(6)
    lost = run.nodes()[-1]
    scene.broken.append(lost)
    scene.cluster.kill_node(lost)
    run.wait_for("finished")
    starts = [entry for entry in entries(run.run, STARTS) if entry["event"] == "start"]
    assert [len(expand(start["nodes"])) for start in starts] == [4, 3]

    # The same without Slurm: resumed from the same checkpoint, on three processes.
    other, at = scene.folder / "other", starts[1]["step"]
    shutil.copytree(run.run / CHECKPOINTS / f"step-{at:08d}", other / CHECKPOINTS / f"step-{at:08d}")
    with COMMAND_LINE:
        alone = Command.parse("x", options(scene.shards, other)).options
    together(alone, world=3)
    seen = losses(run.run)
    assert list(seen) == list(range(1, STEPS + 1))
    assert {step: loss for step, loss in seen.items() if step > at} == losses(other)
    result = f"goes on at step {at}, losses of three processes from there"
    scene.rows.append(
        ("4 nodes become 3", "One of four is killed, and three will do.", "not counted", "not counted", result)
    )


def fill(disk: Path, filler: Path) -> None:
    """Fill the disk to the last byte while the run keeps writing and free space keeps shrinking."""
    size, piece = 0, shutil.disk_usage(disk).free
    with filler.open("wb") as file:
        while piece:
            try:
                os.posix_fallocate(file.fileno(), size, piece)
                size += piece
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                piece //= 2


def a_full_disk_stops_the_run_with_a_reason_and_it_can_be_continued(scene: Scene) -> None:
    small_disk = scene.cluster.small_disk
    run = Submitted(scene.shards, small_disk / "run", scene.profile(), run_keep=2)
    run.wait_for_step(5)
    filler = small_disk / "filler"
    fill(small_disk, filler)
    eventually(lambda: run.now.state == "failed", PATIENCE, lambda: f"{run.now}\n{run.tail()}")
    found = run.now
    assert "No space left on device" in found.detail
    assert found.restarts == 0, "a full disk is no reason to start again"
    assert checkpoint.find(run.run).step == found.checkpoint >= 4
    assert harnet("status", str(run.run)) == 1

    filler.unlink()
    again = Submitted(scene.shards, small_disk / "run", scene.profile(), run_keep=2)
    again.wait_for("finished")
    assert losses(run.run) == scene.undisturbed
    result = f"fails with the reason; submitted again, goes on at step {found.checkpoint}, same losses"
    done = "The disk of the run folder is filled to the last byte, and emptied later."
    scene.rows.append(("full disk", done, "not counted", str(max(0, found.step - found.checkpoint)), result))


def a_run_that_dies_at_once_is_not_started_for_ever(scene: Scene) -> None:
    run = scene.submit("--max-crashes", "2", site='[environment]\nGLOO_SOCKET_IFNAME = "nosuch0"')
    eventually(lambda: run.now.state == "failed", PATIENCE, lambda: f"{run.now}\n{run.tail()}")
    found = run.now
    assert found.restarts == 1
    assert "gave up after 2 starts in a row" in found.detail
    assert "nosuch0" in found.detail, "the reason is that of the processes, not srun's"
    assert [entry["verdict"] for entry in entries(run.run, STARTS) if entry["event"] == "end"] == ["crashed"] * 2


def a_mistake_ends_the_job_at_once(scene: Scene) -> None:
    damaged = scene.folder / "shards"
    shutil.copytree(scene.shards, damaged)
    run = Submitted(damaged, scene.folder / "run", scene.profile())
    for tar in damaged.glob("*.tar"):
        tar.write_bytes(b"\0" * tar.stat().st_size)
    eventually(lambda: run.now.state == "failed", PATIENCE, lambda: f"{run.now}\n{run.tail()}")
    assert run.now.restarts == 0
    assert ".tar" in run.now.detail


def cancelling_leaves_a_checkpoint_and_nothing_starts_again(scene: Scene) -> None:
    run = scene.submit()
    again = ["submit", "pretrain", "--nodes", "2", "--profile", str(scene.profile()), *options(scene.shards, run.run)]
    step = run.wait_for_step(6).step
    with held(run):
        second = scene.harnet(*again)
        assert harnet("cancel", str(run.run)) == 0
    assert second.returncode == 1
    assert f"in use by job {run.job}, RUNNING" in second.stderr
    eventually(lambda: run.now.state == "cancelled", PATIENCE, lambda: f"cancelled; {run.now}")
    eventually(lambda: not run.tasks(), PATIENCE, "end of the processes")
    assert run.now.checkpoint >= step, "TERM leads to a checkpoint"
    assert run.now.restarts == 0
    assert harnet("cancel", str(run.run)) == 1


def two_gpus_of_a_node_and_waiting_for_the_end(scene: Scene) -> None:
    run = scene.folder / "run"
    submit = ["submit", "pretrain", "--gpus-per-node", "2", "--profile", str(scene.profile()), "--wait"]
    done = scene.harnet(*submit, *options(scene.shards, run))
    assert done.returncode == 0, done.stderr
    assert "1 nodes x 2 GPUs on the default partition" in done.stdout
    assert f"{run}: finished (job " in done.stdout
    assert json.loads(scene.harnet("status", str(run), "--json").stdout)["state"] == "finished"
    assert losses(run) == scene.undisturbed
    assert harnet(*submit, *options(scene.shards, run)) == 1, "nothing is left to do"


def the_plain_script_trains_without_submitit(scene: Scene) -> None:
    script, run, config = (
        Path(__file__).parents[2] / "slurm" / "pretrain.sbatch",
        scene.folder / "run",
        scene.folder / "c",
    )
    config.write_text("[data]\nbatch = 12\n")
    asked = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=30")
    where = {"PYTHON": sys.executable, "CONFIG": str(config), "SHARDS": str(scene.shards), "OUT": str(run)}
    exported = ",".join(["--export=ALL", *(f"{name}={value}" for name, value in where.items())])
    log = scene.folder / "log"
    scene.cluster.ask("sbatch", *asked, f"--output={log}", exported, str(script), *options(scene.shards, run))
    eventually((run / "slurm" / STARTS).exists, PATIENCE, "a first start")
    assert status(run).job is not None
    eventually(lambda: status(run).state == "finished", PATIENCE, log.read_text)
    assert losses(run) == scene.undisturbed


STORIES = [
    four_nodes_become_three_and_the_global_batches_stay,
    a_full_disk_stops_the_run_with_a_reason_and_it_can_be_continued,
    a_run_that_dies_at_once_is_not_started_for_ever,
    a_mistake_ends_the_job_at_once,
    cancelling_leaves_a_checkpoint_and_nothing_starts_again,
    two_gpus_of_a_node_and_waiting_for_the_end,
    the_plain_script_trains_without_submitit,
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_run_ends_as_it_should(told: dict[Story, Future[None]], story: Story) -> None:
    told[story].result()
