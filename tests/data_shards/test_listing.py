"""Array tasks that share the listing of a store: one reads its recordings, the others need not."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from data_shards.cohort import index as cohort_index
from data_shards.cohort.store import Cohort
from harnet.errors import HarnetError
from launch.cli import main
from tests.data_shards.test_cohort_index import INFO

PLAN = """
import sys, pathlib
from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards.shard_plan import ShardOptions, plan_shards
cohort = Cohort.open(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))
print(plan_shards(cohort, ShardOptions(quality=POLICIES["none"])).flow.recordings)
"""


def known(cohort: Cohort, first: int, stop: int) -> None:
    """Recordings whose facts the index holds; nobody opens them."""
    rows = []
    for number in range(first, stop):
        folder = cohort.root / f"r{number:03d}"
        folder.mkdir()
        info = replace(INFO, recording=folder.name, participant=folder.name, worn_seconds_by_hour=(3600,))
        rows.append(cohort_index.row_of(info, folder))
    cohort_index.add(cohort.root, rows)


@pytest.fixture
def calls(tmp_path: Path) -> Callable[[Path, Path, int], int]:
    """The number of system calls that name a file of the store, up to the point where a task would write shards."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")

    def counted(store: Path, listing: Path, recordings: int) -> int:
        log = tmp_path / "log"
        command = ["strace", "-f", "-e", "trace=%file", "-o", str(log), sys.executable, "-c", PLAN, store, listing]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        if done.returncode:
            pytest.skip(f"strace may not trace here: {done.stderr[-200:]}")
        assert int(done.stdout) == recordings
        return sum(str(store) in line for line in log.read_text().splitlines())

    return counted


def test_only_the_first_element_asks_something_of_each_recording(
    tmp_path: Path, calls: Callable[[Path, Path, int], int]
) -> None:
    """Counted by strace: the cost of listing 100,000 recordings does not grow with the number of tasks."""
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    known(cohort, 0, 10)
    few = [calls(cohort.root, tmp_path / "few", 10) for _ in range(2)]
    known(cohort, 10, 200)
    many = [calls(cohort.root, tmp_path / "many", 200) for _ in range(2)]
    assert many[0] - few[0] in range(190, 210)
    assert many[1] - few[1] in range(10)  # one more segment of the index


def test_a_listing_is_of_one_store_and_what_came_later_is_not_in_it(tmp_path: Path) -> None:
    cohort = Cohort.create(tmp_path / "cohort.zarr")
    known(cohort, 0, 3)
    listed = Cohort.open(cohort.root, tmp_path / "jobs" / "listing")
    infos = list(listed.infos())
    assert infos == list(cohort.infos())
    known(cohort, 3, 4)
    assert list(listed.infos()) == infos
    other = Cohort.open(Cohort.create(tmp_path / "other.zarr").root, listed.listing)
    with pytest.raises(HarnetError, match="its own --listing"):
        list(other.infos())
    (file,) = (tmp_path / "jobs" / "listing").iterdir()
    for spoilt in ("{", '{"inputs": [], "found": {}}'.replace("[]", f'["{cohort.root}"]').replace("{}", "[1]")):
        file.write_text(spoilt)
        with pytest.raises(HarnetError, match="damaged: delete it"):
            list(listed.infos())


@pytest.mark.parametrize("command", ["shard", "quality"])
def test_parts_with_a_listing_do_the_whole(
    cohort: Cohort, tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, listing = tmp_path / "out", tmp_path / "listing"
    given = [command, str(cohort.root), "--out", str(out), "--listing", str(listing)]
    given += ["--quality", "none", "--blocks-per-shard", "4"] if command == "shard" else ["--pictures", "2"]
    for number in (1, 2):
        assert main([*given, "--part", f"{number}/2"]) == 0
    assert listing.is_dir()
    assert (out / {"shard": "manifest.parquet", "quality": "index.html"}[command]).exists()
    capsys.readouterr()
