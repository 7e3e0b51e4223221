"""Every file below some folders, in the same order wherever and however often it is asked for."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def files_below(paths: Sequence[Path]) -> list[tuple[Path, bool]]:
    """Each file once, by the first path that leads to it, and whether it was named itself.

    Folders are walked in sorted order; links to folders after the folders themselves, each once, so loops end.
    """
    found: dict[Path, tuple[Path, bool]] = {}
    seen: set[str] = set()
    for path in paths:
        if not path.is_dir():
            found.setdefault(path.resolve(), (path, True))
            continue
        roots = [path]
        while roots:
            for file in _walk(roots.pop(0), roots, seen):
                found.setdefault(file.resolve(), (file, False))
    return list(found.values())


def _walk(root: Path, links: list[Path], seen: set[str]) -> Iterator[Path]:
    """The files below a folder, without those below the links in it, which are added to `links`."""
    for folder, folders, names in os.walk(root):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        # A cohort inside the folder is output, and its files are many.
        folders[:] = sorted(name for name in folders if not name.startswith(".") and not name.endswith(".zarr"))
        links += [Path(folder) / name for name in folders if os.path.islink(os.path.join(folder, name))]
        yield from (Path(folder) / name for name in sorted(names) if not name.startswith("."))
