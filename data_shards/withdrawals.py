"""Lists of participants who withdrew from a study, as distributed by cohorts."""

from pathlib import Path

from data_shards.cohort.store import sanitised
from harnet.errors import HarnetError

_NOT_IN_IDS = frozenset("\"',;")
"""Characters of tables and lists; in a cohort store, ids have `_` in their place."""


def read_ids(path: Path) -> frozenset[str]:
    """Pseudonyms in a text file, one per line; empty lines and lines starting with # are ignored.

    Ids must be spelt as in the cohort store, where characters that are not allowed in file names were replaced by `_`.

    Raises:
        HarnetError: the file cannot be read, contains no id, or has a line that cannot be one. The message does not
            show the line.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise HarnetError(
            f"{path}: cannot be read ({error}): pass a text file with one participant id per line"
        ) from None
    for number, line in enumerate(lines, 1):
        # Taken for an id, it would match nobody, and people who withdrew would be kept without a word.
        if not line.startswith("#") and (not line.isprintable() or _NOT_IN_IDS & {*line}):
            raise HarnetError(
                f"{path}: line {number:,} has a quotation mark, a separator or an invisible character: write one "
                "participant id per line and nothing else, spelt as in the cohort store"
            )
    ids = frozenset(sanitised(line) for line in lines if line and not line.startswith("#"))
    if not ids:
        raise HarnetError(f"{path}: contains no id: pass a text file with one participant id per line")
    return ids
