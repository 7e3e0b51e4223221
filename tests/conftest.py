"""Small synthetic cohorts and shards, for tests on machines without real recordings; and the order of test files."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

# Tiny networks on two cores shared by several processes: one thread each is faster, and results are bit-identical.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Numba, which UMAP uses, sets the number of OpenMP threads of the whole process, and so torch's.
os.environ.setdefault("NUMBA_NUM_THREADS", "1")

import numpy as np
import pytest

from data_shards.cohort.store import Cohort
from data_shards.ingest.wear import detect
from data_shards.layout import MISSING, RATE, SECONDS_PER_HOUR
from data_shards.quality.policy import POLICIES
from data_shards.shards import writer
from data_shards.shards.shard_plan import ShardOptions
from tests.recording_info import INFO

LONGEST_FILES = (
    "docs/notebooks/engineer.ipynb",
    "docs/notebooks/methods.ipynb",
    "docs/notebooks/epidemiologist.ipynb",
    "tests/harnet/test_evaluation.py",
    "tests/harnet/test_feature_map.py",
    "tests/pretrain/test_compilation.py",
    "tests/launch/test_open_weights.py",
    "tests/launch/test_road.py",
    "tests/docs/test_site.py",
    "tests/harnet/test_graphs.py",
)
"""Files that several test processes begin with; see `pytest_collection_modifyitems`."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several processes, long files come first and small ones last, so that none works alone at the end."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        files = {item.nodeid: item.nodeid.split("::")[0] for item in items}
        sizes = Counter(files.values())
        ranks = dict(zip(LONGEST_FILES, range(-len(LONGEST_FILES), 0), strict=True))
        items.sort(key=lambda item: (ranks.get(files[item.nodeid], 0), -sizes[files[item.nodeid]], files[item.nodeid]))


def signal(seed: int, seconds: int) -> np.ndarray:
    """(3, 30 * seconds) counts: gravity, a walk-like oscillation that starts and stops, and noise."""
    random = np.random.default_rng(seed)
    time = np.arange(seconds * RATE) / RATE
    vigour = np.maximum(0, np.sin(2 * np.pi * time / random.uniform(300, 900)))
    moving = vigour * np.sin(2 * np.pi * random.uniform(1.5, 2.5) * time)
    axes = [gravity + 0.4 * share * moving for gravity, share in ((0.1, 1.0), (-0.2, 0.5), (0.97, 0.8))]
    return np.round((np.stack(axes) + random.normal(0, 0.01, (3, len(time)))) * 4096).astype(np.int16)


def add_recording(
    cohort: Cohort, participant: str, seed: int, first_second: int, seconds: int, first_hour: int
) -> None:
    hours = -(-(first_second + seconds) // SECONDS_PER_HOUR)
    accel = np.full((3, hours * SECONDS_PER_HOUR * RATE), MISSING, np.int16)
    accel[:, first_second * RATE : (first_second + seconds) * RATE] = signal(seed, seconds)
    worn = detect(accel)
    info = replace(
        INFO,
        recording=f"{participant}-{seed}",
        participant=participant,
        first_hour=first_hour,
        hours=hours,
        device="formula",
        nominal_rate=30.0,
        worn_seconds_by_hour=tuple(worn.wear.reshape(hours, -1).sum(axis=1, dtype=int).tolist()),
        complete_seconds=seconds,
    )
    cohort.write(info, accel, worn.motion, worn.wear)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Nine people (p1 is held out), with recordings of 20 s to 2.3 h, uneven on purpose."""
    made = Cohort.create(tmp_path_factory.mktemp("cohort") / "cohort.zarr")
    for number in range(9):
        seconds = (8200, 4000, 20, 2500, 3600, 300, 1200, 5000, 90)[number]
        add_recording(
            made, f"p{number}", number, first_second=(number * 977) % 3000, seconds=seconds, first_hour=20 + number
        )
    return made


@pytest.fixture(scope="session")
def shards(cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort as shards of a few blocks each. Read-only: tests that damage shards copy the folder."""
    folder = tmp_path_factory.mktemp("shards") / "shards"
    writer.write_shards(cohort, folder, ShardOptions(blocks_per_shard=4, quality=POLICIES["none"]))
    return folder


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A path in the folder of real recordings and reference vectors; the test is skipped if it does not exist."""

    def find(name: str) -> Path:
        path = Path(__file__).parents[2] / "shared" / name
        if not path.exists():
            pytest.skip(f"needs ../shared/{name}, which only developers have")
        return path

    return find
