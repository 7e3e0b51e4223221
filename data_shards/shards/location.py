"""Where a shard folder is: a path, or a URL that fsspec reads; and how to speak of it without giving secrets away."""

import re
from pathlib import Path

_LOCAL = ("file://", "local://")
# What comes before the last @ of a URL's host: a password may hold one.
_USER = re.compile(r"(\w+)://([^/\s'\"]*)@")
_QUERY = re.compile(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")


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


def redacted(text: str) -> str:
    """A message without what may be secret in the URLs in it: user, password and everything after a question mark."""
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1://***@", text))


def holds_secret(text: str) -> bool:
    """Whether a URL in a text has a password or token in it: before its host, or after a question mark.

    A name alone before the host may be a token where HTTP is spoken; elsewhere it is a name, as in
    abfs://container@account.
    """
    named = any(":" in user or scheme in ("http", "https") for scheme, user in _USER.findall(text))
    return named or _QUERY.search(text) is not None
