"""Lists of participants who withdrew from a study, as distributed by cohorts."""

from pathlib import Path

from data_shards.cohort.store import sanitised
from harnet.errors import HarnetError


def read_ids(path: Path) -> frozenset[str]:
    """Pseudonyms in a text file, one per line; empty lines and lines starting with # are ignored.

    Ids must be spelt as in the cohort store, where characters that are not allowed in file names were replaced by `_`.

    Raises:
        HarnetError: the file cannot be read, or contains no id.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise HarnetError(
            f"{path}: cannot be read ({error}): pass a text file with one participant id per line"
        ) from None
    ids = frozenset(sanitised(line) for line in lines if line and not line.startswith("#"))
    if not ids:
        raise HarnetError(f"{path}: contains no id: pass a text file with one participant id per line")
    return ids
