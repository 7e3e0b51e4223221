"""Listing every file below some folders, always in the same order.

A hundred tasks of a job array need the same list of 100,000 files. Walking reads only the folders' entries, and with a
`listing` only the first task walks; the others read its list. So all tasks divide the same list of files, even if new
files arrive meanwhile.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_shards.listing import damaged, listed


def listed_below(paths: Sequence[Path], listing: Path) -> list[tuple[Path, bool]]:
    """`files_below`, stored in `listing` by the first caller and read from there by the others.

    Raises:
        HarnetError: the listing is for other paths, or damaged.
    """
    asked = [os.path.abspath(path) for path in paths]
    found = listed(listing, asked, lambda: [(str(path), named) for path, named in files_below(paths)])
    try:
        return [(Path(path), bool(named)) for path, named in found]
    except (ValueError, TypeError):
        raise damaged(listing) from None


def files_below(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Each file once, by the first path that leads to it, and whether it was given explicitly.

    Folders are walked in sorted order; links to folders follow after real folders, each once, so loops terminate.
    """
    found: dict[str, tuple[Path, bool]] = {}
    seen: set[str] = set()
    for path in paths:
        if not os.path.isdir(path):  # unlike Path.is_dir, never raises
            found.setdefault(os.path.realpath(path), (path, True))
            continue
        roots = [path]
        while roots:
            for real, file in _walk(roots.pop(0), roots, seen):
                found.setdefault(real, (file, False))
    return list(found.values())


def _walk(root: Path, links: list[Path], seen: set[str]) -> Iterator[tuple[str, Path]]:
    """Yield (real path, path) of the files below a folder, without following links to folders.

    Those links are added to `links`. Entry types come from the directory listing, without a stat except for links. A
    folder that cannot be listed is yielded itself, so that it is refused like a file that cannot be read.
    """
    folders = [(os.path.realpath(root), root)]
    while folders:
        real, folder = folders.pop()
        if real in seen:
            continue
        seen.add(real)
        below = []
        try:
            entries = _entries(folder)
        except OSError:
            yield real, folder
            continue
        for entry in entries:
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
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link that leads to itself
