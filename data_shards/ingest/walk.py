"""Every file below some folders, in the same order wherever and however often it is asked for.

A hundred elements of a job array need the same list of 100,000 files. Walking asks the file system for nothing but the
folders' entries, and with a `listing` only the first element walks; the others read what it found. So they share out
the same files, too, even if some arrive meanwhile.
"""

import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_shards.listing import damaged, listed

_LOG = logging.getLogger(__name__)


def listed_below(paths: Sequence[Path], listing: Path) -> list[tuple[Path, bool]]:
    """`files_below`, kept in `listing` by whoever comes first, and read from there by everybody.

    Raises:
        HarnetError: it is of other paths, or damaged.
    """
    asked = [os.path.abspath(path) for path in paths]
    found = listed(listing, asked, lambda: [(str(path), named) for path, named in files_below(paths)])
    try:
        return [(Path(path), bool(named)) for path, named in found]
    except (ValueError, TypeError):
        raise damaged(listing) from None


def files_below(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Each file once, by the first path that leads to it, and whether it was named itself.

    Folders are walked in sorted order; links to folders after the folders themselves, each once, so loops end.
    """
    found: dict[str, tuple[Path, bool]] = {}
    seen: set[str] = set()
    for path in paths:
        if not path.is_dir():
            found.setdefault(os.path.realpath(path), (path, True))
            continue
        roots = [path]
        while roots:
            for real, file in _walk(roots.pop(0), roots, seen):
                found.setdefault(real, (file, False))
    return list(found.values())


def _walk(root: Path, links: list[Path], seen: set[str]) -> Iterator[tuple[str, Path]]:
    """The files below a folder, each after where it really is, without those below the links in it.

    These are added to `links`. What an entry is, the folder says: nothing is asked of a file unless it is a link.
    """
    folders = [(os.path.realpath(root), root)]
    while folders:
        real, folder = folders.pop()
        if real in seen:
            continue
        seen.add(real)
        below = []
        for entry in _entries(folder):
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if not _is_folder(entry):
                yield os.path.realpath(path) if entry.is_symlink() else os.path.join(real, entry.name), path
            elif not entry.name.endswith(".zarr"):  # a cohort inside the folder is output, and its files are many
                if entry.is_symlink():
                    links.append(path)
                else:
                    below.append((os.path.join(real, entry.name), path))
        folders += reversed(below)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        _LOG.warning("%s: cannot be listed (%s): what is in it is left out", folder, error.strerror)
        return []


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself
