import gc
import hashlib
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import webdataset as wds

from data_shards import manifest, writer
from data_shards.cohort import Cohort
from data_shards.split import split_of
from data_shards.writer import PlannedBlock, ShardOptions
from harnet.errors import HarnetError

OPTIONS = ShardOptions(blocks_per_shard=4)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


# webdataset 1.0.2 leaves the tar files that it read to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_reads_every_block(cohort: Cohort, shards: Path) -> None:
    urls = sorted(map(str, shards.glob("*.tar")))
    samples = list(wds.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()
    assert len(samples) == len(manifest.read(shards).columns["hour"])
    for sample in samples:
        about = sample["about.json"]
        info = cohort.info(about["recording"])
        block = writer.read_block(cohort, PlannedBlock(about["recording"], about["hour"] - info.first_hour))
        np.testing.assert_array_equal(sample["accel.npy"], block.accel)
        np.testing.assert_array_equal(sample["motion.npy"], block.motion)
        np.testing.assert_array_equal(sample["wear.npy"], block.wear)
        assert (about["participant"], about["first_second"]) == (info.participant, block.first_second)
        assert f"/{split_of(info.participant)}-" in sample["__url__"]


def test_two_workers_write_the_same_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    writer.write(cohort, tmp_path / "shards", OPTIONS, workers=2)
    assert digests(tmp_path / "shards") == digests(shards)


def test_a_killed_run_continues_to_the_same_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    process = multiprocessing.get_context("spawn").Process(target=writer.write, args=(cohort, folder, OPTIONS))
    process.start()
    while process.is_alive() and not list((folder / writer.PARTS).glob("*.parquet")):
        time.sleep(0.005)
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    finished = set(folder.glob("*.tar"))
    times = {path: path.stat().st_mtime_ns for path in finished}
    writer.write(cohort, folder, OPTIONS)
    assert digests(folder) == digests(shards)
    assert {path: path.stat().st_mtime_ns for path in finished} == times


def test_running_again_changes_nothing(cohort: Cohort, shards: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir() if path.is_file()}
    writer.write(cohort, shards, OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in shards.iterdir() if path.is_file()} == before


def test_a_folder_of_something_else_is_refused(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(HarnetError, match="something else"):
        writer.write(cohort, tmp_path, OPTIONS)
    with pytest.raises(HarnetError, match="another cohort or other options"):
        writer.write(cohort, shards, ShardOptions(blocks_per_shard=5))


def test_an_empty_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="nothing to shard"):
        writer.write(Cohort.create(tmp_path / "cohort.zarr"), tmp_path / "shards", OPTIONS)


def test_a_manifest_that_is_cut_off_is_refused(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    path = tmp_path / "shards" / manifest.FILE_NAME
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(HarnetError, match="damaged, or not a manifest"):
        manifest.read(tmp_path / "shards")


def test_who_is_held_out_never_changes() -> None:
    people = [f"person-{number}" for number in range(5000)]
    held_out = [name for name in people if split_of(name) == "heldout"]
    assert held_out[:5] == ["person-8", "person-17", "person-20", "person-21", "person-32"]
    assert 0.18 < len(held_out) / len(people) < 0.22
    assert {name for name in people if split_of(name, "b") == "heldout"} != set(held_out)
