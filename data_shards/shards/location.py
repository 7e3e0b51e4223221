"""Location of a shard folder: a path, or a URL that fsspec reads."""

from pathlib import Path

_LOCAL = ("file://", "local://")


def is_remote(location: str) -> bool:
    """Whether a location is a URL to be read by fsspec, rather than a local folder."""
    return "://" in location and not location.startswith(_LOCAL)


def local_path(location: str) -> Path:
    """The local folder of a location that is a path or a file:// URL."""
    assert not is_remote(location)
    return Path(location.partition("://")[2] if location.startswith(_LOCAL) else location)


def split_query(url: str) -> tuple[str, str]:
    """Split a URL into the part before its question mark, and the query string: a token that each file's URL needs."""
    base, mark, query = url.partition("?")
    return base.rstrip("/"), mark + query
