"""Faults of real clusters, injected into a run. Each run ends with the losses of an undisturbed one."""

import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from harnet.run_folder import CHECKPOINTS, MARKER, STARTS
from launch.records import entries, last_logged
from tests.cluster.cluster import eventually
from tests.cluster.stories import Scene, Story
from tests.cluster.submitted import PATIENCE, Submitted, held, losses

FAULT_STEP = 6
"""After the checkpoint of step 4, and before or shortly after that of step 8."""


ATTEMPTS = 3
"""Runs of a story before it fails since each was over too soon."""


class TooLate(Exception):
    """The run finished before the fault: on a busy machine the test's own thread may have to wait for its turn."""


@dataclass(frozen=True)
class Fault:
    """A story of a run that suffers a fault and recovers without help."""

    name: str
    inflict: Callable[[Scene, Submitted], None]
    """The first line of its docstring says what is done; the table of faults prints it."""
    site: str = ""
    afterwards: Callable[[Scene, Submitted], None] = lambda scene, run: None
    """Called once the run has resumed."""

    def __call__(self, scene: Scene) -> None:
        for attempt in range(ATTEMPTS):
            try:
                return self.once(replace(scene, folder=scene.folder / str(attempt)))
            except TooLate:
                scene.cluster.cancel_all(under=scene.folder)
        raise AssertionError(f"{ATTEMPTS} runs finished before they met the fault")

    def once(self, scene: Scene) -> None:
        """Submit a run, inflict the fault, and check that the run resumes."""
        scene.folder.mkdir()
        run = scene.submit(site=self.site)
        run.wait_for_step(FAULT_STEP)
        before, count = markers(run.run), len(starts(run))
        began = time.monotonic()
        self.inflict(scene, run)
        reached, resumed_from = restarted(run, count)
        eventually(lambda: logged_step(run.run) > resumed_from, PATIENCE, lambda: f"another step\n{run.tail()}")
        lost = time.monotonic() - began
        self.afterwards(scene, run)
        run.wait_for("finished")

        same = losses(run.run) == scene.undisturbed
        done = (self.inflict.__doc__ or "").splitlines()[0]
        result = f"goes on at step {resumed_from}, {'same losses' if same else 'OTHER LOSSES'}"
        scene.rows.append((self.name, done, f"{lost:.0f}", str(max(0, reached - resumed_from)), result))
        assert same
        assert before.items() <= markers(run.run).items(), "a complete checkpoint was lost or changed"
        assert "requeued" in run.seen
        assert run.seen[-1] == "finished"


def requeue(scene: Scene, run: Submitted) -> None:
    """`scontrol requeue`, as an administrator would run it."""
    with held(run):
        scene.cluster.ask("scontrol", "requeue", run.job)


def preempt(scene: Scene, run: Submitted) -> None:
    """A job in a higher-priority partition takes its nodes for a second."""
    nodes = run.nodes()
    with held(run):
        where = ["-p", "high", f"-N{len(nodes)}", "-w", ",".join(nodes), "-o", "/dev/null"]
        scene.cluster.ask("sbatch", *where, "--wrap", "sleep 1")


def reach_time_limit(scene: Scene, run: Submitted) -> None:
    """The run is paused until Slurm sends USR2 ahead of the limit; this wait is included in the seconds."""
    with held(run):
        pass


def kill_a_task(scene: Scene, run: Submitted) -> None:
    """One training process is killed with SIGKILL."""
    os.kill(run.tasks()[-1], signal.SIGKILL)


def kill_node(scene: Scene, run: Submitted) -> None:
    """The last node dies at once: slurmd, step daemon and task."""
    lost = run.nodes()[-1]
    scene.broken.append(lost)
    scene.cluster.kill_node(lost)


def unplug_node(scene: Scene, run: Submitted) -> None:
    """The first node, with the batch process and rank 0, loses its network and comes back later."""
    lost = run.nodes()[0]
    scene.broken.append(lost)
    scene.cluster.unplug(lost)


def plug_in_again(scene: Scene, run: Submitted) -> None:
    """It still runs processes of the first start, which must not disturb the second."""
    scene.cluster.plug_in(scene.broken[0])


STORIES = [
    Fault("unplugged node", unplug_node, afterwards=plug_in_again),
    Fault("time limit", reach_time_limit, "minutes = 1\nsignal_seconds = 1"),
    Fault("killed node", kill_node),
    Fault("preemption with grace", preempt, 'partition = "grace"'),
    Fault("preemption without grace", preempt, 'partition = "main"'),
    Fault("scontrol requeue", requeue),
    Fault("killed task", kill_a_task),
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_a_run_goes_on_by_itself_with_the_same_numbers(told: dict[Story, Future[None]], story: Story) -> None:
    told[story].result()


def starts(run: Submitted) -> list[dict[str, Any]]:
    return [entry for entry in entries(run.run, STARTS) if entry["event"] == "start"]


def restarted(run: Submitted, count: int) -> tuple[int, int]:
    """Wait for start number `count` (from 0); return the last step logged before it, and the step it resumes from."""
    reached = logged_step(run.run)

    def again() -> bool:
        nonlocal reached
        if run.now.state == "finished" and len(starts(run)) <= count:
            raise TooLate
        assert not run.now.over, f"{run.now}\n{run.tail()}"
        before = logged_step(run.run)
        if len(starts(run)) > count:
            return True
        reached = before
        return False

    eventually(again, PATIENCE, lambda: f"another start\n{run.tail()}")
    return reached, starts(run)[count]["step"]


def markers(run: Path) -> dict[str, str]:
    """Completion markers of all checkpoints of a run; they hold the digests of the checkpoint files."""
    return {path.parent.name: path.read_text() for path in (run / CHECKPOINTS).glob(f"step-*/{MARKER}")}


def logged_step(run: Path) -> int:
    found = last_logged(run)
    return found.step if found else 0
