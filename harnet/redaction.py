"""Removing secrets from URLs before they are shown or logged."""

import re

# Everything before the last @ of a URL's authority: a password may itself contain an @.
_USER = re.compile(r"(\w+)://([^/\s'\"]*)@")
_QUERY = re.compile(r"(\w+://[^\s?'\"]*)\?[^\s'\"]*")


def redacted(text: str) -> str:
    """The text with possible secrets in its URLs masked: user, password and query string."""
    return _QUERY.sub(r"\1?***", _USER.sub(r"\1://***@", text))


def holds_secret(text: str) -> bool:
    """Whether a URL in the text contains a password or token: before its host, or in its query string.

    With HTTP a user name without a password may be a token; with other protocols it is just a name, as in
    abfs://container@account.
    """
    named = any(":" in user or scheme in ("http", "https") for scheme, user in _USER.findall(text))
    return named or _QUERY.search(text) is not None
