"""Where a shard folder is: a path, or a URL that fsspec reads."""

from pathlib import Path

_LOCAL = ("file://", "local://")


def is_remote(location: str) -> bool:
    """Whether a location is a URL that fsspec has to read, and not a folder of this machine."""
    return "://" in location and not location.startswith(_LOCAL)


def local_path(location: str) -> Path:
    """The folder that a local location, a path or file:// URL, names."""
    assert not is_remote(location)
    return Path(location.partition("://")[2] if location.startswith(_LOCAL) else location)


def split_query(url: str) -> tuple[str, str]:
    """A URL without, and with nothing but, what begins at its question mark: a token that each file's URL needs."""
    base, mark, query = url.partition("?")
    return base.rstrip("/"), mark + query
