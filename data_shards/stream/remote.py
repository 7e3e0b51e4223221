"""Reading shards over a network with fsspec (S3, HTTP and others) by range requests, one block at a time.

Blocks that are needed next are prefetched in the background, and blocks may be cached on a local disk. Failures are
retried with back-off: a few times here, for short faults, and then for minutes by the reader of the block
(`retries.py`). Messages never contain passwords or tokens.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data_shards.shards.location import is_remote, local_path, split_query
from data_shards.shards.manifest import Manifest
from data_shards.stream.block_cache import BlockCache
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.storage import LocalStorage, Missing, Storage, Truncated
from harnet.errors import HarnetError
from harnet.redaction import redacted

_CONNECTIONS = 16
"""Number of blocks that one process fetches concurrently."""
_LONGEST_PAUSE = 30.0
"""Seconds."""
_ATTEMPTS = 4
"""Attempts per block in a thread, about 2 seconds: threads cannot be cancelled, so they must not wait for long."""


@dataclass(frozen=True)
class RemoteOptions:
    """How remote files are read."""

    cache: Path | None = None
    """Folder in which blocks are cached; None disables caching."""
    cache_bytes: int = 0
    """Size limit of that folder, exceeded by at most 1/50 per process that uses it; 0 disables caching."""
    retry_policy: RetryPolicy = field(default_factory=RetryPolicy)
    """Retry policy for blocks and the manifest."""


def open_storage(manifest: Manifest, options: RemoteOptions) -> Storage:
    """Storage of a manifest's shards. No connection is made before the first read."""
    location = manifest.location
    if is_remote(location):
        return RemoteStorage(location, options, manifest.digest)
    return LocalStorage(local_path(location))


class RemoteFiles:
    """Files below a URL, with retries. Opened on first use, in the process that uses it."""

    def __init__(self, url: str, options: RemoteOptions) -> None:
        self._options = options
        self._base, self._query = split_query(url)
        self._files: Any = None

    def info(self, name: str) -> dict[str, Any]:
        """Metadata of a file, including its size. Raises Missing, OSError or HarnetError."""
        found: dict[str, Any] = self._try(name, lambda files, path: files.info(path))
        return found

    def fetch(self, name: str, offset: int, length: int) -> bytes:
        """Exactly `length` bytes of a file from `offset` on. Raises Missing, Truncated, OSError or HarnetError."""

        def get(files: Any, path: str) -> bytes:
            content: bytes = files.cat_file(path, start=offset, end=offset + length)
            if len(content) > length:
                raise HarnetError(f"{self.where(name)}: the server does not support range requests: use one that does, "
                                  "or copy the shards")  # fmt: skip
            if len(content) < length:
                raise OSError(f"received {len(content)} bytes instead of {length}")
            return content

        try:
            content: bytes = self._try(name, get)
        except OSError:
            # Servers respond differently to a range beyond the end of a file.
            if (size := self.info(name).get("size")) is not None and size < offset + length:
                raise Truncated(f"{self.where(name)} ends at byte {size}") from None
            raise
        return content

    def where(self, name: str) -> str:
        """URL of a file for messages, without secrets."""
        return f"{redacted(self._base)}/{name}"

    def _open(self) -> Any:
        if self._files is None:
            import fsspec

            # Instances are shared within a process, and their cached listings may be outdated.
            self._files, _ = fsspec.core.url_to_fs(self._base, skip_instance_cache=True, use_listings_cache=False)
        return self._files

    def _try(self, name: str, call: Callable[[Any, str], Any]) -> Any:
        import tenacity

        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(
                multiplier=self._options.retry_policy.first_pause, max=_LONGEST_PAUSE
            ),
            retry=tenacity.retry_if_exception(_is_retryable),
            reraise=True,
        )
        try:
            return retrying(lambda: _plainly(call, self._open(), f"{self._base}/{name}{self._query}"))
        except FileNotFoundError:
            raise Missing(f"{self.where(name)} is missing") from None
        except HarnetError:
            raise
        except ImportError as error:
            raise HarnetError(f"{self.where(name)}: {error}; pip install 'harnet[train]'") from None
        except Exception as error:
            # Errors of many libraries, whose text and causes may contain the URL's secrets: reduced to one clean line.
            said = redacted(str(error)).replace(self._query or "\0", "?***") or type(error).__name__
            if _is_retryable(error):
                raise OSError(said) from None
            what = "access denied" if _is_denied(error) else "cannot be read"
            raise HarnetError(f"{self.where(name)}: {what} ({said}); check URL, credentials and network") from None


class RemoteStorage:
    """See `data_shards.stream.storage.Storage`."""

    def __init__(self, location: str, options: RemoteOptions, corpus: str) -> None:
        self._remote = RemoteFiles(location, options)
        self._source = split_query(location)[0]
        kept = options.cache and options.cache_bytes
        self._cache = BlockCache(options.cache, options.cache_bytes, corpus) if options.cache and kept else None
        self._threads = ThreadPoolExecutor(_CONNECTIONS, "harnet-fetch")
        self._coming: dict[tuple[str, int, int], Future[bytes]] = {}

    def read_into(self, name: str, offset: int, out: memoryview) -> None:
        """Read prefetched data, the disk cache or the network. Raises Missing, Truncated, OSError or HarnetError."""
        coming = self._coming.pop((name, offset, len(out)), None)
        out[:] = coming.result() if coming else self._get(name, offset, len(out))

    def prefetch(self, name: str, offset: int, length: int) -> None:
        """Start fetching a range in the background."""
        key = (name, offset, length)
        if key not in self._coming:
            self._coming[key] = self._threads.submit(self._get, *key)

    def forget(self, name: str, offset: int, length: int) -> None:
        """Drop a cached range, so that it is fetched over the network again."""
        if self._cache:
            self._cache.drop(f"{self._source}/{name}", offset, length)

    def close(self) -> None:
        """Cancel pending fetches."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._coming.clear()

    def _get(self, name: str, offset: int, length: int) -> bytes:
        source = f"{self._source}/{name}"
        content = self._cache.get(source, offset, length) if self._cache else None
        if content is None:
            content = self._remote.fetch(name, offset, length)
            if self._cache:
                self._cache.put(source, offset, content)
        return content


def _plainly(call: Callable[[Any, str], Any], files: Any, path: str) -> Any:
    """Call with a file system and a path; for HTTP, distinguishes a missing file from an unreachable server."""
    try:
        return call(files, path)
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause is not None and type(cause).__module__.startswith("aiohttp") and getattr(cause, "status", 0) != 404:
            raise cause from None
        raise


def _is_retryable(error: BaseException) -> bool:
    """Whether the error is retryable."""
    lasting = FileNotFoundError | ImportError | NotImplementedError | HarnetError
    return isinstance(error, Exception) and not (_is_denied(error) or isinstance(error, lasting))


def _is_denied(error: BaseException) -> bool:
    # aiohttp and botocore define their own errors for this, which are not PermissionError.
    denied = getattr(error, "status", None) in (401, 403) or type(error).__name__ == "NoCredentialsError"
    return denied or isinstance(error, PermissionError)
