"""Parsing of Slurm's output, without Slurm; tests/cluster uses a real one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.arrays import ranges
from launch.job import comment, consecutive_crashes, verdict_of
from launch.slurm import Job, gpus_of, parse

SHOWN = (
    "JobId=41 ArrayJobId=40 ArrayTaskId=7 JobName=harnet-first UserId=me(1000) JobState=PENDING Reason=BeginTime "
    "Requeue=1 Restarts=2 ExitCode=78:0 ReqB:S:C:T=0:0:*:* CPUs/Task=1 "
    "Comment=run: No space left on device; mend it WorkDir=/home/me StdOut=/home/me/a b.log Power= "
)


def test_a_job_is_read_from_its_line() -> None:
    job = Job(parse(SHOWN))
    assert (job.state, job.restarts, job.index) == ("PENDING", 2, 7)
    assert job.comment == "run: No space left on device; mend it"
    assert job.facts["StdOut"] == "/home/me/a b.log"
    assert job.facts["CPUs/Task"] == "1"
    assert job.facts["Power"] == ""
    assert job.waiting
    assert job.alive
    assert not Job({"JobState": "TIMEOUT"}).alive
    assert Job({"Comment": "(null)"}).comment == ""


@given(st.text())
def test_a_comment_comes_back_as_it_was_kept(reason: str) -> None:
    kept = comment(reason)
    assert "\n" not in kept
    assert len(kept) <= 250
    line = f"JobId=1 Comment={kept} WorkDir=/x"
    assert parse(line)["Comment"] == kept.strip()
    assert parse(line)["WorkDir"] == "/x"


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ("(null)", 0),
        ("gpu:2", 2),
        ("gpu:a100:4(S:0-1),nvme:1", 4),
        ("nvme:3,gpu:h100:8", 8),
        ("gpu:a:1,gpu:b:2", 3),
        ("mygpu:9", 0),
    ],
)
def test_gpus_of_a_node(resources: str, gpus: int) -> None:
    assert gpus_of(resources) == gpus


@given(st.sets(st.integers(1, 60), min_size=1))
def test_ranges_name_exactly_the_elements_that_are_missing(numbers: set[int]) -> None:
    named: list[int] = []
    for piece in ranges(sorted(numbers)).split(","):
        first, _, last = piece.partition("-")
        named += range(int(first), int(last or first) + 1)
    assert named == sorted(numbers)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [(0, "finished"), (130, "stopped"), (140, "stopped"), (143, "stopped"), (78, "non-retryable"), (1, "crashed"),
     (137, "crashed"), (134, "crashed"), (139, "crashed")],
)  # fmt: skip
def test_what_an_exit_code_leads_to(code: int, verdict: str) -> None:
    assert verdict_of(code) == verdict


def test_only_crashes_of_this_job_without_a_checkpoint_are_counted() -> None:
    def end(verdict: str, steps: int, job: str = "1") -> dict:
        return {"event": "end", "job": job, "verdict": verdict, "steps": steps}

    start = {"event": "start", "job": "1"}
    assert consecutive_crashes([], "1") == 0
    assert consecutive_crashes([start, end("crashed", 0), start, end("crashed", 0), start], "1") == 2
    assert consecutive_crashes([end("crashed", 0), end("crashed", 5), end("crashed", 0)], "1") == 1
    assert consecutive_crashes([end("crashed", 0), end("stopped", 0), end("crashed", 0)], "1") == 1
    assert consecutive_crashes([end("crashed", 0), end("crashed", 0, job="2")], "2") == 1
