"""A manifest at a URL: read in pieces, converted once, and read again when it changes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from data_shards.shards import manifest as manifests
from data_shards.stream import shared_manifest
from data_shards.stream.node_cache import NodeCache
from data_shards.stream.remote import RemoteFiles, RemoteOptions
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.shared_manifest import open_manifest
from harnet.errors import HarnetError

FAST = RemoteOptions(retry_policy=RetryPolicy(seconds=1, first_pause=0.01))
URL = "memory://remote-manifest"


@pytest.fixture
def cache(tmp_path: Path) -> NodeCache:
    return NodeCache.open(tmp_path / "cache")


@pytest.fixture
def content(shards: Path) -> Iterator[bytes]:
    """The manifest, which is all that there is at the URL."""
    files, content = fsspec.filesystem("memory"), (shards / manifests.FILE_NAME).read_bytes()
    files.pipe_file(f"/remote-manifest/{manifests.FILE_NAME}", content)
    yield content
    files.rm("/remote-manifest", recursive=True)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Offset and length of every fetched range."""
    found, real = [], RemoteFiles.fetch

    def fetch(self: RemoteFiles, name: str, offset: int, length: int) -> bytes:
        found.append((offset, length))
        return real(self, name, offset, length)

    monkeypatch.setattr(RemoteFiles, "fetch", fetch)
    return found


def test_it_is_fetched_once_and_in_pieces(
    content: bytes, shards: Path, cache: NodeCache, fetched: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_manifest, "_PIECE", 3000)
    for _ in range(2):
        assert open_manifest(URL, cache, remote=FAST).digest == manifests.read(shards).digest
    starts = range(0, len(content), 3000)
    assert fetched == [(start, min(3000, len(content) - start)) for start in starts]
    assert len(fetched) > 2, "or the test tries nothing"


def test_one_that_was_rewritten_is_read_again(
    content: bytes, shards: Path, cache: NodeCache, tmp_path: Path, fetched: list[tuple[int, int]]
) -> None:
    first = open_manifest(URL, cache, remote=FAST)
    (tmp_path / "new").mkdir()
    table = manifests.read_table(shards / manifests.FILE_NAME)
    manifests.write(tmp_path / "new", table, first.shards, dict(first.provenance) | {"made": "again"})
    new = (tmp_path / "new" / manifests.FILE_NAME).read_bytes()
    fsspec.filesystem("memory").pipe_file(f"/remote-manifest/{manifests.FILE_NAME}", new)
    second = open_manifest(URL, cache, remote=FAST)
    assert second.digest == manifests.read(tmp_path / "new").digest != first.digest
    assert len(fetched) == 2


def test_a_server_that_does_not_tell_of_changes_is_asked_every_time(
    content: bytes, shards: Path, cache: NodeCache, fetched: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RemoteFiles, "info", lambda self, name: {"size": len(content), "ETag": None})
    for times in (1, 2):
        assert open_manifest(URL, cache, remote=FAST).digest == manifests.read(shards).digest
        assert len(fetched) == times
    assert len(list(cache.root.glob("manifest-*.lock"))) == 1, "but converted once"


def test_people_who_withdrew_have_an_entry_of_their_own(content: bytes, shards: Path, cache: NodeCache) -> None:
    everyone = open_manifest(URL, cache, remote=FAST)
    left = open_manifest(URL, cache, frozenset({"p0"}), FAST)
    assert left.digest == manifests.read(shards).without(frozenset({"p0"})).digest != everyone.digest
    assert "p0" in everyone.participants


def test_one_that_shrinks_while_it_is_read_is_said(
    content: bytes, cache: NodeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = RemoteFiles.info, iter([len(content) + 10])

    def info(self: RemoteFiles, name: str) -> dict[str, Any]:
        found = real(self, name)
        return found | {"size": next(sizes, found["size"])}

    monkeypatch.setattr(RemoteFiles, "info", info)
    with pytest.raises(HarnetError, match=r"manifest\.parquet: changed while being read"):
        open_manifest(URL, cache, remote=FAST)


def test_none_at_the_url_is_said(cache: NodeCache) -> None:
    with pytest.raises(HarnetError, match=r"memory://nowhere: no manifest\.parquet: not a shard folder"):
        open_manifest("memory://nowhere/", cache, remote=FAST)
