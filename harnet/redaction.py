"""How to speak of a URL without giving secrets away."""

import re

# What comes before the last @ of a URL's host: a password may hold one.
_USER = re.compile(r"(\w+)://([^/\s'\"]*)@")
_QUERY = re.compile(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")


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
