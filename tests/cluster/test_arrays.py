"""Job arrays: recordings to shards, a store to results. The same command repeats only the tasks that failed."""

import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_shards.cohort.store import Cohort
from harnet.heads import ClassifierModel, PretextModel
from harnet.weights.bundle import BundleConfig, save
from tests.cluster.stories import Scene, Story
from tests.cluster.submitted import harnet
from tests.harnet.test_evaluation import make_labelled


def write_recording(path: Path, person: int) -> None:
    """Two minutes at 50 Hz."""
    random = np.random.default_rng(person)
    time = 1_600_000_000 + np.arange(6000) / 50
    signal = np.stack([0.3 * np.sin(9 * time), 0.1 * np.cos(9 * time), np.ones(6000)], axis=1)
    signal += random.normal(0, 0.02, signal.shape)
    rows = "\n".join(f"{t:.3f},{x:.4f},{y:.4f},{z:.4f}" for t, (x, y, z) in zip(time, signal, strict=True))
    path.write_text("time,x,y,z\n" + rows + "\n")


def submitted(scene: Scene, code: int, *arguments: str, site: str = "") -> dict[str, Any]:
    """The state of an array of two tasks once it and its check have ended."""
    profile = str(scene.profile(site))
    done = scene.harnet("submit", *arguments, "--jobs", "2", "--profile", profile, "--wait", "--json")
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
    assert (first["tasks"], first["done_before"]) == (2, 0)
    write_recording(recordings / "p3.csv", 3)
    second = submitted(scene, 0, *ingest)
    assert (second["tasks"], second["done_before"]) == (1, 1), "only the task that failed is repeated"

    shard = ["shard", str(cohort), "--out", str(shards), "--quality", "none"]
    found = submitted(scene, 0, *shard)
    assert found["tasks"] == 2
    assert "all good" in (scene.folder / "shards.jobs" / f"{found['verification']}.log").read_text()
    again = submitted(scene, 0, *shard)
    assert (again["tasks"], again["array"]) == (0, None)

    quality = submitted(scene, 0, "quality", str(cohort), "--out", str(scene.folder / "quality"))
    assert quality["tasks"] == 2
    assert (scene.folder / "quality" / "index.html").exists()


def weights(folder: Path) -> tuple[str, str]:
    """An encoder and a classifier with random weights."""
    encoder = PretextModel("harnet5", standardise=True, width=8)
    config = BundleConfig("harnet5", 5, "standardised window", width=8, provenance={"objective": "none"})
    classes = replace(config, normalisation="none", classes=("sit", "walk"))
    classifier = ClassifierModel("harnet5", 2, width=8)
    return (
        str(save(folder / "encoder", encoder.state_dict(), config)),
        str(save(folder / "classifier", classifier.state_dict(), classes)),
    )


def same_files(one: Path, other: Path, pattern: str) -> None:
    """Whether both folders hold the same files of a pattern with the same bytes, and at least one."""
    found = [
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(pattern) if path.is_file()}
        for folder in (one, other)
    ]
    assert found[0] == found[1] != {}


def store_to_results(scene: Scene) -> None:
    """Run embed with a recording that is damaged at first, predict with a task that is killed, then evaluate."""
    cohort, here, out = (scene.folder / name for name in ("cohort.zarr", "here", "out"))
    assert harnet("synth", "--out", str(cohort), "--people", "3", "--hours", "1") == 0
    encoder, classifier = weights(scene.folder)
    damaged = cohort / Cohort.open(cohort).recordings()[1] / "wear" / "c" / "0"
    whole = damaged.rename(scene.folder / "whole")
    damaged.write_bytes(b"")

    options = ["--weights", encoder, "--threads", "1", "--step", "60"]
    embed = ["embed", str(cohort), *options, "--out", str(out / "features")]
    first = submitted(scene, 1, *embed)
    assert (first["tasks"], first["done_before"]) == (2, 0)
    whole.rename(damaged)
    second = submitted(scene, 0, *embed)
    assert (second["tasks"], second["done_before"]) == (1, 1), "only the task that failed is repeated"
    assert harnet("embed", str(cohort), *options, "--out", str(here / "features")) == 0
    for pattern in ("c/*", "*.parquet", "summaries/*"):
        same_files(out / "features", here / "features", pattern)

    options[1] = classifier
    predict = ["predict", str(cohort), *options, "--out", str(out / "classes")]
    kill = """setup = ['[ "${SLURM_ARRAY_TASK_ID:-}" != 2 ] || kill -KILL $$']"""
    submitted(scene, 0, *predict, site=kill)
    marks = [path.name for path in (out / "classes.jobs").glob("done/*/*") if path.name.isdecimal()]
    assert marks == ["1"], "the check of the whole does what the killed element has not done"
    assert harnet("predict", str(cohort), *options, "--out", str(here / "classes")) == 0
    for pattern in ("*.parquet", "*.csv"):
        same_files(out / "classes", here / "classes", pattern)

    make_labelled(scene.folder / "labelled" / "tiny")
    options = ["--data", str(scene.folder / "labelled"), "--weights", encoder, "--seeds", "1"]
    options += ["--arms", "frozen-linear", "untrained-linear"]
    assert submitted(scene, 0, "evaluate", *options, "--out", str(out / "scores"))["tasks"] == 2
    assert harnet("evaluate", *options, "--out", str(here / "scores")) == 0
    for pattern in ("results.json", "*.csv"):
        same_files(out / "scores", here / "scores", pattern)


@pytest.mark.parametrize("story", [recordings_to_shards, store_to_results], ids=lambda story: story.__name__)
def test_arrays_of_jobs(told: dict[Story, Future[None]], story: Story) -> None:
    told[story].result()
