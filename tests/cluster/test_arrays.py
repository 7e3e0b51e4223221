"""Recordings to shards as arrays of jobs; what failed is repeated by the same command, what is done is not."""

import json
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cluster.stories import Scene, Story


def write_recording(path: Path, person: int) -> None:
    """Two minutes at 50 Hz."""
    random = np.random.default_rng(person)
    time = 1_600_000_000 + np.arange(6000) / 50
    signal = np.stack([0.3 * np.sin(9 * time), 0.1 * np.cos(9 * time), np.ones(6000)], axis=1)
    signal += random.normal(0, 0.02, signal.shape)
    rows = "\n".join(f"{t:.3f},{x:.4f},{y:.4f},{z:.4f}" for t, (x, y, z) in zip(time, signal, strict=True))
    path.write_text("time,x,y,z\n" + rows + "\n")


def submitted(scene: Scene, code: int, *arguments: str) -> dict[str, Any]:
    """What an array of two elements says once it and its check have ended."""
    done = scene.harnet("submit", *arguments, "--jobs", "2", "--profile", str(scene.profile()), "--wait", "--json")
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def recordings_to_shards(scene: Scene) -> None:
    recordings, cohort, shards = (scene.folder / name for name in ("recordings", "cohort.zarr", "shards"))
    recordings.mkdir()
    for person in range(3):
        write_recording(recordings / f"p{person}.csv", person)
    (recordings / "p3.csv").write_text("no recording\n")
    ingest = ["ingest", str(recordings / "p3.csv"), str(recordings), "--out", str(cohort), "--min-seconds", "60"]

    first = submitted(scene, 1, *ingest)
    assert (first["elements"], first["done_before"]) == (2, 0)
    write_recording(recordings / "p3.csv", 3)
    second = submitted(scene, 0, *ingest)
    assert (second["elements"], second["done_before"]) == (1, 1), "only the element that failed is repeated"

    shard = ["shard", str(cohort), "--out", str(shards), "--quality", "none"]
    found = submitted(scene, 0, *shard)
    assert found["elements"] == 2
    assert "all good" in (scene.folder / "shards.jobs" / f"{found['verification']}.log").read_text()
    again = submitted(scene, 0, *shard)
    assert (again["elements"], again["array"]) == (0, None)

    quality = submitted(scene, 0, "quality", str(cohort), "--out", str(scene.folder / "quality"))
    assert quality["elements"] == 2
    assert (scene.folder / "quality" / "index.html").exists()


@pytest.mark.parametrize("story", [recordings_to_shards], ids=lambda story: story.__name__)
def test_arrays_of_jobs(told: dict[Story, Future[None]], story: Story) -> None:
    told[story].result()
