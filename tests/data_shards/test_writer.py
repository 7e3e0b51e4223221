import errno
import gc
import hashlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds

from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES, QualityPolicy
from data_shards.shards import manifest, writer
from data_shards.shards.block import from_range
from data_shards.shards.shard_plan import HoursInShard, ShardOptions, plan_shards
from data_shards.shards.split import split_of
from data_shards.shards.verify_shards import verify_shards
from harnet.errors import HarnetError
from harnet.parts import Part

OPTIONS = ShardOptions(blocks_per_shard=4, quality=POLICIES["none"])
SPAWN = multiprocessing.get_context("spawn")


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


# webdataset 1.0.2 leaves closing the tars to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_stock_webdataset_reads_every_block(cohort: Cohort, shards: Path) -> None:
    urls = sorted(map(str, shards.glob("*.tar")))
    samples = list(wds.WebDataset(urls, shardshuffle=False).decode())
    gc.collect()
    assert len(samples) == len(manifest.read(shards).columns["hour"])
    for sample in samples:
        about = sample["about.json"]
        info = cohort.info(about["recording"])
        hour = np.array([about["hour"] - info.first_hour], np.int32)
        (block,) = writer.read_blocks(cohort, HoursInShard(about["recording"], hour))
        np.testing.assert_array_equal(sample["accel.npy"], block.accel)
        np.testing.assert_array_equal(sample["motion.npy"], block.motion)
        np.testing.assert_array_equal(sample["wear.npy"], block.wear)
        assert (about["participant"], about["first_second"]) == (info.participant, block.first_second)
        assert f"/{split_of(info.participant)}-" in sample["__url__"]


def test_compressed_shards_hold_the_same_blocks_in_fewer_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    writer.write_shards(cohort, packed, replace(OPTIONS, compression="zstd"))
    assert verify_shards(packed) == []
    plain, small = manifest.read(shards), manifest.read(packed)
    assert "zstd" in small.provenance["codec"]
    assert int(small.columns["length"].sum()) < 0.85 * int(plain.columns["length"].sum())
    for row in range(len(plain.columns["hour"])):
        assert plain.key_of(row) == small.key_of(row)
        for left, right in zip(*(arrays(contents, row) for contents in (plain, small)), strict=True):
            np.testing.assert_array_equal(left, right)


def arrays(contents: manifest.Manifest, row: int) -> tuple[np.ndarray, ...]:
    shard, start, length, samples = (
        int(contents.columns[name][row]) for name in ("shard", "offset", "length", "samples")
    )
    content = (contents.folder / contents.shards[shard].name).read_bytes()[start : start + length]
    return from_range(memoryview(content), samples)


def test_two_workers_write_the_same_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    writer.write_shards(cohort, tmp_path / "shards", OPTIONS, workers=2)
    assert digests(tmp_path / "shards") == digests(shards)


def test_parts_one_after_the_other_write_the_same_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    first = writer.write_shards(cohort, folder, OPTIONS, part=Part(1, 3))
    assert {shard.number % 3 for shard in first.missing} == {1, 2}
    with pytest.raises(HarnetError, match=r"no manifest\.parquet"):
        manifest.read(folder)
    again = writer.write_shards(cohort, folder, OPTIONS, part=Part(1, 3))
    assert [shard.name for shard in again.missing] == [shard.name for shard in first.missing]
    assert writer.write_shards(cohort, folder, OPTIONS, part=Part(3, 3)).missing
    assert not writer.write_shards(cohort, folder, OPTIONS, part=Part(2, 3)).missing
    assert digests(folder) == digests(shards)
    # A task that is requeued after it has finished finds nothing to do.
    assert not writer.write_shards(cohort, folder, OPTIONS, part=Part(3, 3)).missing
    assert digests(folder) == digests(shards)


def in_forks(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "tests.data_shards.killed_runs", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_parts_at_once_write_the_same_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    in_forks("at-once", "shard", folder, cohort.root, "1/3", "2/3", "3/3", "2/3")
    assert digests(folder) == digests(shards)


@pytest.mark.parametrize("moment", ["_claim", "run_all", "_finish", "_clean"])
def test_another_process_may_finish_at_any_moment(
    cohort: Cohort, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """A complete run of another process happens between two steps of this one."""
    original = getattr(writer, moment)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        monkeypatch.setattr(writer, moment, original)
        writer.write_shards(cohort, tmp_path / "shards", OPTIONS)
        return original(*arguments, **options)

    monkeypatch.setattr(writer, moment, interrupted)
    assert not writer.write_shards(cohort, tmp_path / "shards", OPTIONS).missing
    assert getattr(writer, moment) is original
    assert digests(tmp_path / "shards") == digests(shards)


def test_many_finishers_at_once_leave_one_manifest(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    planned = plan_shards(cohort, OPTIONS)
    writer._claim(folder, planned)
    for shard in planned.shards:
        writer.write_shard(cohort.root, folder, "none", shard)
    in_forks("at-once", "shard", folder, cohort.root, *["1/1"] * 3)
    assert digests(folder) == digests(shards)


def test_a_killed_run_continues_to_the_same_bytes(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    process = SPAWN.Process(target=writer.write_shards, args=(cohort, folder, OPTIONS))
    process.start()
    while process.is_alive() and not list((folder / writer.PARTS).glob("*.parquet")):
        time.sleep(0.005)
    assert process.pid is not None
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    finished = set(folder.glob("*.tar"))
    times = {path: path.stat().st_mtime_ns for path in finished}
    writer.write_shards(cohort, folder, OPTIONS)
    assert digests(folder) == digests(shards)
    assert {path: path.stat().st_mtime_ns for path in finished} == times


def test_killed_before_any_step_on_the_file_system_it_continues_to_the_same_bytes(
    cohort: Cohort, shards: Path, tmp_path: Path
) -> None:
    in_forks("killed", "shard", tmp_path / "shards", cohort.root)
    assert digests(tmp_path / "shards") == digests(shards)


def test_running_again_changes_nothing(cohort: Cohort, shards: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in shards.iterdir() if path.is_file()}
    writer.write_shards(cohort, shards, OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in shards.iterdir() if path.is_file()} == before


def test_a_full_disk_leaves_nothing_half_written(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from launch.cli import main\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (900_000,) * 2)\n"
        "sys.exit(main(['shard', sys.argv[1], '--out', sys.argv[2], '--quality', 'none', '--blocks-per-shard', '4']))"
    )
    folder = tmp_path / "shards"
    done = subprocess.run(
        [sys.executable, "-c", code, cohort.root, folder], capture_output=True, text=True, check=False
    )
    assert resource.getrlimit(resource.RLIMIT_FSIZE) == (resource.RLIM_INFINITY,) * 2
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert os.strerror(errno.EFBIG) in line
    assert "run the same command again" in line
    assert not list(folder.glob("*.tmp")) + list(folder.glob(".*.tmp")) + [*folder.glob(manifest.FILE_NAME)]
    writer.write_shards(cohort, folder, OPTIONS)
    assert digests(folder) == digests(shards)


def test_a_folder_of_something_else_is_refused(cohort: Cohort, shards: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(HarnetError, match="files other than shards"):
        writer.write_shards(cohort, tmp_path, OPTIONS)
    with pytest.raises(HarnetError, match="is a file"):
        writer.write_shards(cohort, tmp_path / "letter.txt", OPTIONS)
    with pytest.raises(HarnetError, match="another cohort or other options"):
        writer.write_shards(cohort, shards, replace(OPTIONS, blocks_per_shard=5))


def test_two_plans_do_not_mix_in_an_unfinished_folder(cohort: Cohort, tmp_path: Path) -> None:
    assert writer.write_shards(cohort, tmp_path / "shards", OPTIONS, part=Part(1, 2)).missing
    with pytest.raises(HarnetError, match="another cohort or other options"):
        writer.write_shards(cohort, tmp_path / "shards", replace(OPTIONS, split_salt="b"), part=Part(2, 2))


def test_an_empty_cohort_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="nothing to shard"):
        writer.write_shards(Cohort.create(tmp_path / "cohort.zarr"), tmp_path / "shards", OPTIONS)


def test_a_policy_that_leaves_nothing_says_what_it_left_out(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"excludes all 9 recordings \(not calibrated: 9\).*--quality none"):
        writer.write_shards(cohort, tmp_path / "shards", ShardOptions())
    assert not (tmp_path / "shards").exists()


def test_bad_recordings_and_excluded_people_are_left_out_and_counted(cohort: Cohort, tmp_path: Path) -> None:
    half_an_hour = replace(POLICIES["none"], min_wear_hours=0.5)
    options = replace(OPTIONS, quality=half_an_hour)
    written = writer.write_shards(cohort, tmp_path / "shards", options, exclude=frozenset({"p0", "p9"}))
    contents = manifest.read(tmp_path / "shards")
    expected = {info.participant for info in cohort.infos() if info.participant != "p0" and info.worn_seconds >= 1800}
    assert set(contents.participants) == expected
    assert written.planned.withdrawn == contents.provenance["withdrawn"] == 1
    assert contents.provenance["flow"]["excluded"]["wear time"] == 8 - len(expected)
    assert contents.provenance["devices"] == {"formula": len(expected)}
    text = json.dumps(dict(contents.provenance))
    assert not any(f"p{number}" in text for number in range(9))


def test_the_plan_does_not_depend_on_when_a_file_was_copied(cohort: Cohort, tmp_path: Path) -> None:
    def with_source(change: Callable[[Any], Any]) -> str:
        class Changed(Cohort):
            def infos(self) -> Any:
                return (replace(info, source=change(dict(info.source))) for info in super().infos())

        return str(plan_shards(Changed(cohort.root), OPTIONS).provenance["plan"])

    same = plan_shards(cohort, OPTIONS).provenance["plan"]
    assert with_source(lambda source: source | {"mtime_ns": 1}) == same
    assert with_source(lambda source: source | {"xxh3": "1"}) != same


def test_a_plan_of_many_hours_is_cut_evenly_and_in_order(cohort: Cohort) -> None:
    planned = plan_shards(cohort, OPTIONS)
    for split in ("train", "heldout"):
        sizes = [sum(len(piece.hours) for piece in shard.pieces) for shard in planned.shards if shard.split == split]
        assert all(size == 4 for size in sizes[:-1])
        assert 1 <= sizes[-1] <= 4
        names = [piece.recording for shard in planned.shards if shard.split == split for piece in shard.pieces]
        assert names == sorted(names)
    assert [shard.number for shard in planned.shards] == list(range(len(planned.shards)))


def test_a_name_too_long_for_a_tar_is_refused(cohort: Cohort) -> None:
    class Long(Cohort):
        def infos(self) -> Any:
            return (replace(info, recording="r" * 156) for info in super().infos())

    with pytest.raises(HarnetError, match="156 characters, a tar allows 155"):
        plan_shards(Long(cohort.root), OPTIONS)


def test_a_manifest_that_is_cut_off_is_refused(shards: Path, tmp_path: Path) -> None:
    shutil.copytree(shards, tmp_path / "shards")
    path = tmp_path / "shards" / manifest.FILE_NAME
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(HarnetError, match="damaged, or not a manifest"):
        manifest.read(tmp_path / "shards")
    with pytest.raises(HarnetError, match="damaged, or not a manifest"):
        manifest.provenance(tmp_path / "shards")


@pytest.mark.parametrize("name", ["../train-000000.tar", "heldout-000000.tar", "train-000000.tar/", "/etc/passwd"])
def test_a_manifest_cannot_name_a_file_elsewhere(name: str) -> None:
    with pytest.raises(HarnetError, match="never writes"):
        manifest.ShardInfo(name, "train", 1, "", 1)


def test_who_is_held_out_never_changes() -> None:
    people = [f"person-{number}" for number in range(5000)]
    held_out = [name for name in people if split_of(name) == "heldout"]
    assert held_out[:5] == ["person-8", "person-17", "person-20", "person-21", "person-32"]
    assert 0.18 < len(held_out) / len(people) < 0.22
    assert {name for name in people if split_of(name, "b") == "heldout"} != set(held_out)


def test_the_default_policy_is_the_published_one() -> None:
    assert ShardOptions().quality == QualityPolicy()


def test_a_file_hashes_what_it_writes() -> None:
    raw = io.BytesIO()
    file = writer.HashedFile(raw)
    for piece in (b"one", memoryview(b"two")):
        file.write(piece)
    assert (raw.getvalue(), file.size) == (b"onetwo", 6)
    assert file.hash.hexdigest() == writer.xxhash.xxh3_128_hexdigest(b"onetwo")


def test_no_hard_links_and_no_flushing_of_folders_are_needed(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on exFAT or gcsfuse; the second of two plans is refused all the same."""
    real = os.fsync

    def lacking(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "link", lacking)
    monkeypatch.setattr(os, "fsync", fsync)
    folder = tmp_path / "shards"
    writer.write_shards(cohort, folder, OPTIONS, part=Part(1, 3))
    with pytest.raises(HarnetError, match="other options"):
        writer.write_shards(cohort, folder, replace(OPTIONS, blocks_per_shard=2))
    writer.write_shards(cohort, folder, OPTIONS)
    assert not (folder / writer.PARTS).exists()
    assert verify_shards(folder) == []
