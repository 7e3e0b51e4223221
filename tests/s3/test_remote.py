import os
import threading
import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing import forkserver
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from data_shards.shards import manifest as manifests
from data_shards.shards.manifest import Manifest
from data_shards.stream.block_cache import BlockCache
from data_shards.stream.node_cache import KEPT_DAYS, NodeCache
from data_shards.stream.plan import OrderConfig, plan_epoch
from data_shards.stream.reader import LaneReader
from data_shards.stream.remote import RemoteOptions, open_storage
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.shard_files import Shards
from data_shards.stream.shared_manifest import open_manifest
from harnet.errors import HarnetError, Unreachable
from harnet.redaction import holds_secret, redacted
from pretrain.data.loading import LoadingOptions, local_batches
from pretrain.parallel.distributed import Process
from tests.s3.conftest import KEY, SECRET, Server

ORDER = OrderConfig(window_seconds=10, batch=48, lanes=12, seed=1, windows_per_visit=64, shuffle_windows=100)
FAST = RemoteOptions(retry_policy=RetryPolicy(seconds=1, first_pause=0.05))

# The HTTP and S3 clients close their connections only when the interpreter exits.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache.open(tmp_path / "cache")


@pytest.fixture
def s3(object_store: Server, shards: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of the shards in a bucket."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_store.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = fsspec.filesystem("s3", skip_instance_cache=True)
    if not files.exists("cohort/shards/manifest.parquet"):
        files.makedir("cohort")
        for path in shards.iterdir():
            if path.is_file():
                files.put_file(str(path), f"cohort/shards/{path.name}")
    return "s3://cohort/shards"


def windows(contents: Manifest, options: RemoteOptions = FAST, steps: int | None = None) -> list[np.ndarray]:
    plan = plan_epoch(contents, "train", ORDER, 0)
    with Shards(contents, open_storage(contents, options), options.retry_policy) as shards:
        return [batch.windows for batch in islice(LaneReader(shards, ORDER, range(12)).batches(plan), steps)]


@pytest.fixture
def memory(shards: Path) -> Iterator[str]:
    files = fsspec.filesystem("memory")
    for path in shards.iterdir():
        if path.is_file():
            files.pipe_file(f"/cohort/{path.name}", path.read_bytes())
    yield "memory://cohort"
    files.rm("/cohort", recursive=True)


def same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return len(ours) == len(theirs) and all(map(np.array_equal, ours, theirs))


def test_every_kind_of_location_gives_the_same_batches(
    shards: Path, s3: str, http: Server, memory: str, cache: NodeCache
) -> None:
    expected = windows(manifests.read(shards))
    for location in (shards.as_uri(), memory, f"{http.url}/files", s3):
        contents = open_manifest(location, cache, remote=FAST)
        assert contents.digest == manifests.read(shards).digest
        assert same(windows(contents), expected), location


@pytest.fixture
def fresh_fork_server() -> Iterator[None]:
    """Children of a fork server inherit the environment in which it was started, perhaps by another test."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("fresh_fork_server")
def test_loader_processes_read_from_s3(s3: str, shards: Path, cache: NodeCache) -> None:
    process, source = Process(0, 1, torch.device("cpu")), LoadingOptions(cache, FAST)
    contents = open_manifest(s3, cache, remote=FAST)
    found = list(islice(local_batches(contents, "train", ORDER, process, 2, 3, source), 3))
    local = list(islice(local_batches(manifests.read(shards), "train", ORDER, process, 0, 3, source), 3))
    for ours, theirs in zip(found, local, strict=True):
        assert torch.equal(ours.windows, theirs.windows)


@pytest.mark.parametrize("fault", ["flaky", "short"])
def test_what_fails_is_asked_for_again(http: Server, shards: Path, cache: NodeCache, fault: str) -> None:
    contents = open_manifest(f"{http.url}/{fault}", cache, remote=FAST)
    assert same(windows(contents, steps=5), windows(manifests.read(shards), steps=5))


def test_a_server_that_dies_is_waited_for_and_then_named(http: Server, shards: Path, cache: NodeCache) -> None:
    contents = open_manifest(f"{http.url}/files", cache, remote=FAST)
    plan = plan_epoch(contents, "train", ORDER, 0)
    with Shards(contents, open_storage(contents, FAST), FAST.retry_policy) as files:
        batches = LaneReader(files, ORDER, range(12)).batches(plan)
        next(batches)
        http.stop()
        with pytest.raises(Unreachable, match=rf"{http.url}/files/train-.*could not be read for 1 s"):
            list(batches)


def test_a_server_that_comes_back_is_no_loss(http: Server, shards: Path, cache: NodeCache) -> None:
    contents = open_manifest(f"{http.url}/files", cache, remote=FAST)
    http.stop()
    retry_policy = RetryPolicy(seconds=60, first_pause=0.2)
    storage = open_storage(contents, RemoteOptions(retry_policy=retry_policy))
    # The background request has failed by the time it is needed, yet nothing is counted as damaged.
    back = threading.Timer(2, http.start)
    with Shards(contents, storage, retry_policy) as files, Shards(manifests.read(shards)) as local:
        files.prefetch(0)
        time.sleep(1.5)
        back.start()
        np.testing.assert_array_equal(files.read(0)[0], local.read(0)[0])
    back.join()


def test_a_server_without_ranges_is_no_use(http: Server, cache: NodeCache) -> None:
    with pytest.raises(HarnetError, match="does not support range requests"):
        windows(open_manifest(f"{http.url}/whole", cache, remote=FAST))


def test_a_missing_object_stops_the_run(memory: str, cache: NodeCache) -> None:
    contents = open_manifest(memory, cache, remote=FAST)
    plan = plan_epoch(contents, "train", ORDER, 0)
    name = contents.shards[contents.columns["shard"][plan.rows[0]]].name
    fsspec.filesystem("memory").rm(f"/cohort/{name}")
    with (
        Shards(contents, open_storage(contents, FAST), FAST.retry_policy) as files,
        pytest.raises(Unreachable, match=rf"{name}: could not be read .* is missing"),
    ):
        list(LaneReader(files, ORDER, range(12), max_damaged=1.0).batches(plan))


def test_a_cut_object_is_damage_too(memory: str, cache: NodeCache) -> None:
    contents = open_manifest(memory, cache, remote=FAST)
    row = int(contents.rows("train")[0])
    name = contents.shards[contents.columns["shard"][row]].name
    files = fsspec.filesystem("memory")
    files.pipe_file(f"/cohort/{name}", files.cat_file(f"/cohort/{name}")[:2000])
    with (
        Shards(contents, open_storage(contents, FAST)) as shards,
        pytest.raises(HarnetError, match="ends at byte 2000"),
    ):
        shards.read(row)


@pytest.mark.parametrize("wrong", ["key", "bucket", "none"])
def test_what_is_wrong_with_s3_is_one_line_without_the_secret(
    s3: str, cache: NodeCache, monkeypatch: pytest.MonkeyPatch, wrong: str, tmp_path: Path
) -> None:
    location, says = s3, "access denied"
    if wrong == "key":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-wrong-secret")
    elif wrong == "none":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    else:
        location, says = "s3://no-such-bucket/shards", "no manifest.parquet"
    with pytest.raises(HarnetError, match=says) as error:
        open_manifest(location, cache, remote=FAST)
    assert location in str(error.value)
    assert "\n" not in str(error.value)
    assert "secret" not in str(error.value)


def test_a_token_works_and_is_in_no_message(
    http: Server, shards: Path, cache: NodeCache, caplog: pytest.LogCaptureFixture
) -> None:
    contents = open_manifest(f"{http.url}/locked?token=right", cache, remote=FAST)
    assert same(windows(contents, steps=2), windows(manifests.read(shards), steps=2))
    with pytest.raises(HarnetError, match="access denied") as error:
        open_manifest(f"{http.url}/locked?token=s3cret", cache, remote=FAST)
    assert "right" not in contents.name_of(0)
    assert "s3cret" not in str(error.value) + caplog.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://me:pw@host/a?sig=x failed", "https://***@host/a?*** failed"),
        ("--data.shards=https://me:p@ss@host/a", "--data.shards=https://***@host/a"),
        ("url='s3://k:s@bucket/x'", "url='s3://***@bucket/x'"),
        ("/a/folder/with@sign", "/a/folder/with@sign"),
        ("s3://bucket/shards", "s3://bucket/shards"),
    ],
)
def test_secrets_are_taken_out(text: str, expected: str) -> None:
    assert redacted(text) == expected
    assert holds_secret(text) == (redacted(text) != text)


@pytest.mark.parametrize(
    ("location", "secret"),
    [
        ("https://token@host/a", True),
        ("sftp://me:pw@host/a", True),
        ("filecache::https://me:pw@host/a", True),
        ("s3://bucket/a?versionId=x", True),
        ("sftp://me@host/a", False),
        ("abfs://container@account.dfs.example.org/a", False),
        ("https://host:8080/a@b", False),
        ("/a?b@c", False),
    ],
)
def test_a_name_alone_is_a_secret_only_over_http(location: str, secret: bool) -> None:
    assert holds_secret(location) == secret


def test_blocks_are_kept_and_a_partial_one_is_never_used(
    memory: str, shards: Path, tmp_path: Path, cache: NodeCache
) -> None:
    options = RemoteOptions(tmp_path / "blocks", 1 << 30, FAST.retry_policy)
    contents = open_manifest(memory, cache, remote=options)
    expected = windows(contents, options)
    kept = list((tmp_path / "blocks" / contents.digest[:16]).glob("*.block"))
    assert len(kept) >= len(plan_epoch(contents, "train", ORDER, 0).rows)
    kept[0].write_bytes(kept[0].read_bytes()[:100])
    content = bytearray(kept[1].read_bytes())
    content[200] ^= 1
    kept[1].write_bytes(content)
    assert same(windows(contents, options), expected)
    assert kept[0].stat().st_size > 100
    # The cache is enough: nothing is requested over the network.
    fsspec.filesystem("memory").mv("/cohort", "/moved", recursive=True)
    assert same(windows(contents, options), expected)
    fsspec.filesystem("memory").mv("/moved", "/cohort", recursive=True)


def test_the_kept_blocks_stay_within_their_bound(tmp_path: Path) -> None:
    kept = BlockCache(tmp_path, 100_000, "corpus")
    assert (tmp_path / "corpus").stat().st_mode & 0o777 == 0o700, "nobody else can read it"
    for number in range(300):
        kept.put("source", number, bytes(1000))
        assert kept.get("source", 0, 1000) is not None, "what is used stays"
        time.sleep(0.001)
    total = sum(path.stat().st_size for path in tmp_path.rglob("*.block"))
    assert 90_000 <= total <= 104_000
    assert kept.get("source", 299, 1000) is not None
    assert kept.get("source", 1, 1000) is None
    assert kept.get("source", 299, 999) is None


def test_a_full_disk_costs_nothing_but_time(
    memory: str, tmp_path: Path, cache: NodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    contents = open_manifest(memory, cache, remote=FAST)
    expected = windows(contents)
    monkeypatch.setattr(Path, "write_bytes", full)
    assert same(windows(contents, RemoteOptions(tmp_path / "blocks", 1 << 30)), expected)
    assert not list((tmp_path / "blocks").rglob("*.block"))


def test_blocks_of_another_corpus_go_after_a_week(tmp_path: Path) -> None:
    """A purge changes the digest; leftovers of the old corpus are not kept for ever."""
    before = BlockCache(tmp_path, 100_000, "a" * 64)
    for number in range(3):
        before.put("source", number, bytes(1000))
    after = BlockCache(tmp_path, 100_000, "b" * 64)
    assert after.get("source", 0, 1000) is None
    assert before.get("source", 0, 1000) is not None
    old = time.time() - (KEPT_DAYS + 1) * 86_400
    for path in (tmp_path / ("a" * 16)).iterdir():
        os.utime(path, (old, old))
    after.put("source", 0, bytes(1000))
    BlockCache(tmp_path, 100_000, "b" * 64)
    assert [path.name for path in tmp_path.iterdir()] == ["b" * 16]
    assert after.get("source", 0, 1000) is not None
