import errno
import json
import multiprocessing
import os
import pickle
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_shards.shards import manifest as manifests
from data_shards.stream import node_cache
from data_shards.stream.node_cache import KEPT_DAYS, NodeCache
from data_shards.stream.plan import OrderConfig, plan_epoch, steps_per_epoch
from data_shards.stream.planner import Planner
from data_shards.stream.reader import LaneReader
from data_shards.stream.shard_files import Shards
from data_shards.stream.shared_manifest import open_manifest
from harnet.errors import HarnetError

ORDER = OrderConfig(window_seconds=10, batch=48, lanes=12, seed=1, windows_per_visit=64, shuffle_windows=100)


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache.open(tmp_path / "cache")


class Maker:
    """Writes an array and counts how often it is called."""

    def __init__(self, calls: Path) -> None:
        self.calls = calls

    def __call__(self, folder: Path) -> Mapping[str, Any]:
        with self.calls.open("a") as file:
            file.write("x")
        time.sleep(0.2)
        np.save(folder / "numbers.npy", np.arange(1000))
        return {"fact": 7}


def ask(root: Path, calls: Path) -> None:
    entry = NodeCache.open(root).get("key", Maker(calls))
    assert entry.array("numbers")[-1] == 999
    assert entry.facts["fact"] == 7


def ask_without_locks(root: Path, calls: Path, code: int) -> None:
    def flock(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    node_cache.fcntl.flock = flock
    ask(root, calls)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EPERM])
def test_without_locks_each_process_computes_and_all_have_the_same(tmp_path: Path, code: int) -> None:
    NodeCache.open(tmp_path / "cache")
    # Twice: when the cache is missing, and when it is damaged.
    for _ in range(2):
        context = multiprocessing.get_context("forkserver")
        given = (tmp_path / "cache", tmp_path / "calls", code)
        processes = [context.Process(target=ask_without_locks, args=given) for _ in range(4)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 4
        assert {path.name for path in (tmp_path / "cache").iterdir()} == {"key", "key.lock"}
        (tmp_path / "cache" / "key" / "numbers.npy").write_bytes(b"?")


def test_a_file_system_that_refuses_a_lock_for_another_reason_is_told(
    cache: NodeCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(node_cache.fcntl, "flock", flock)
    with pytest.raises(OSError, match="Input/output error"):
        cache.get("key", Maker(tmp_path / "calls"))


def test_of_many_processes_one_computes(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=ask, args=(tmp_path / "cache", tmp_path / "calls")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert (tmp_path / "calls").read_text() == "x"


@pytest.mark.parametrize("harm", ["flip", "cut", "index", "gone", "pickled"])
def test_a_damaged_entry_is_made_again(cache: NodeCache, tmp_path: Path, harm: str) -> None:
    ask(cache.root, tmp_path / "calls")
    path = cache.root / "key" / "numbers.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    if harm == "flip":
        path.write_bytes(content)
    elif harm == "cut":
        path.write_bytes(content[:-8])
    elif harm == "index":
        (cache.root / "key" / "index.json").write_text(json.dumps({"files": {}, "facts": {}}))
    elif harm == "gone":
        path.unlink()
    else:
        np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    ask(cache.root, tmp_path / "calls")
    assert (tmp_path / "calls").read_text() == "xx"


def test_what_was_mapped_outlives_its_entry(cache: NodeCache, tmp_path: Path) -> None:
    entry = cache.get("key", Maker(tmp_path / "calls"))
    numbers = entry.array("numbers")
    long_ago = time.time() - (KEPT_DAYS + 1) * 86_400
    os.utime(cache.root / "key", (long_ago, long_ago))
    (cache.root / "half.1.tmp").mkdir()
    os.utime(cache.root / "half.1.tmp", (long_ago, long_ago))
    cache.get("other", Maker(tmp_path / "calls"))
    assert sorted(path.name for path in cache.root.iterdir() if path.is_dir()) == ["other"]
    assert numbers.sum() == 499_500


def test_no_more_than_so_many_entries_are_kept(cache: NodeCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cache, "KEPT_ENTRIES", 3)
    for number in range(6):
        cache.get(f"key-{number}", lambda _: {})
        os.utime(cache.root / f"key-{number}", (time.time() - 100 + number,) * 2)
    assert sorted(path.name for path in cache.root.iterdir() if path.is_dir()) == ["key-2", "key-3", "key-4", "key-5"]


def test_an_entry_that_is_used_is_kept(cache: NodeCache, tmp_path: Path) -> None:
    for key in ("used", "unused"):
        cache.get(key, Maker(tmp_path / "calls"))
    for path in cache.root.glob("*used"):
        os.utime(path, (time.time() - (KEPT_DAYS + 1) * 86_400,) * 2)
    cache.get("used", Maker(tmp_path / "calls"))
    NodeCache.open(cache.root)
    assert [path.name for path in cache.root.iterdir() if path.is_dir()] == ["used"]
    assert (tmp_path / "calls").read_text() == "xx"


def test_splits_manifests_and_versions_of_the_code_have_plans_of_their_own(
    shards: Path, cache: NodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = manifests.read(shards)
    small = replace(ORDER, batch=12)
    plans = [
        Planner(contents, "train", small, cache).plan(0),
        Planner(contents, "heldout", small, cache).plan(0),
        Planner(contents.without(frozenset({"p0"})), "train", small, cache).plan(0),
    ]
    for one, contents_of, split in zip(plans, (contents, contents, contents.without(frozenset({"p0"}))),
                                       ("train", "heldout", "train"), strict=True):  # fmt: skip
        np.testing.assert_array_equal(one.rows, plan_epoch(contents_of, split, small, 0).rows)
    before = len(list(cache.root.glob("plan-*.lock")))
    monkeypatch.setattr("data_shards.stream.planner._SOURCES", (b"another version",))
    Planner(contents, "train", small, cache).plan(0)
    assert (before, len(list(cache.root.glob("plan-*.lock")))) == (3, 4)


def test_the_folder_of_a_cache_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_cache.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = NodeCache.open().root
    assert folder == tmp_path / f"harnet-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    with pytest.raises(HarnetError, match="writable by, another user"):
        NodeCache.open(tmp_path / "open")
    (tmp_path / "mine").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(HarnetError, match="another user"):
        NodeCache.open(tmp_path / "link")


def test_a_mapped_manifest_is_the_manifest(shards: Path, cache: NodeCache) -> None:
    plain, mapped = manifests.read(shards), open_manifest(str(shards), cache)
    for one in (mapped, pickle.loads(pickle.dumps(mapped))):  # noqa: S301 - made here
        assert replace(one, columns={}) == replace(plain, columns={})
        assert set(one.columns) == set(plain.columns)
        for name, values in plain.columns.items():
            np.testing.assert_array_equal(one.columns[name], values)
    assert len(pickle.dumps(mapped)) < 20_000


def test_a_planners_plan_is_the_plan(shards: Path, cache: NodeCache) -> None:
    contents = manifests.read(shards)
    for order in (ORDER, replace(ORDER, seed=2)):
        planner = Planner(contents, "train", order, cache)
        assert planner.steps == steps_per_epoch(contents, "train", order)
        for epoch in (0, 3, 0):
            plan, expected = planner.plan(epoch), plan_epoch(contents, "train", order, epoch)
            np.testing.assert_array_equal(plan.rows, expected.rows)
            np.testing.assert_array_equal(plan.ends, expected.ends)
            assert (plan.steps, plan.epoch, plan.config) == (expected.steps, epoch, order)


def test_people_who_withdrew_are_not_there(shards: Path, cache: NodeCache) -> None:
    plain = manifests.read(shards)
    gone = frozenset({"p0", "p7", "never took part"})
    left, mapped = plain.without(gone), open_manifest(str(shards), cache, gone)
    assert left.digest == mapped.digest != plain.digest
    assert left.digest == plain.without(frozenset({"p7", "p0"})).digest
    assert plain.without(frozenset({"never took part"})) is plain
    for name in plain.columns:
        np.testing.assert_array_equal(left.columns[name], mapped.columns[name])
    assert left.participants == mapped.participants
    assert left.recordings == mapped.recordings
    assert not gone & set(left.participants)
    assert not any(name.startswith(("p0-", "p7-")) for name in left.recordings)
    rows = [row for row, code in enumerate(plain.columns["participant"]) if plain.participants[code] not in gone]
    assert [left.key_of(row) for row in range(len(left.columns["hour"]))] == [plain.key_of(row) for row in rows]
    with Shards(left) as files:
        assert list(LaneReader(files, ORDER, range(12)).batches(plan_epoch(left, "train", ORDER, 0)))


def test_no_manifest_is_said(tmp_path: Path, cache: NodeCache) -> None:
    with pytest.raises(HarnetError, match=r"no manifest\.parquet"):
        open_manifest(str(tmp_path), cache)
    (tmp_path / "manifest.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(HarnetError, match="damaged, or not a manifest"):
        open_manifest(str(tmp_path), cache)
