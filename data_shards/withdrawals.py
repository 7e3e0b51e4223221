"""Who asked not to be in it any more: the lists that cohorts send round."""

from pathlib import Path

from data_shards.cohort.store import sanitised
from harnet.errors import HarnetError


def read_ids(path: Path) -> frozenset[str]:
    """The pseudonyms in a text file, one a line; empty lines and lines that begin with # are comments.

    They are spelt as in the cohort store, where characters that cannot stand in a file name became `_`.

    Raises:
        HarnetError: the file cannot be read, or names nobody.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise HarnetError(
            f"{path}: cannot be read ({error}): give a text file with one participant id a line"
        ) from None
    ids = frozenset(sanitised(line) for line in lines if line and not line.startswith("#"))
    if not ids:
        raise HarnetError(f"{path}: names nobody: give a text file with one participant id a line")
    return ids
