"""What pictures have in common: colours, points on a plane, and a file that is there whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError
from harnet.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PALETTE = ("#14506b", "#d98c21", "#7a9e3a", "#a63d57", "#5aa0c8", "#7d5ba6", "#8a6d3b", "#3f7f6b", "#c46f9a", "#8c96a0")

FORMATS = (".svg", ".png")

POINTS = 4000
"""Windows on a plane: more hide each other. Below 4,096 UMAP's search for neighbours is exact."""


def evenly(windows: int, data_sets: int) -> NDArray[np.int64]:
    """Indices of the windows of a data set that are shown, so that all data sets together have at most `POINTS`."""
    taken: NDArray[np.int64] = np.unique(np.linspace(0, windows - 1, POINTS // data_sets).astype(np.int64))
    return taken


def scatter(axes: "Axes", points: NDArray[np.floating], names: Sequence[str]) -> None:
    """Points (n, 2), a colour for each of the ten most frequent of their names; all others are grey, one entry."""
    kinds = sorted(set(names), key=lambda name: (-names.count(name), name))
    shown, column = kinds[: len(PALETTE)], np.array(names)
    for colour, kind in zip(PALETTE, shown, strict=False):
        own = points[column == kind]
        axes.scatter(own[:, 0], own[:, 1], s=9, color=colour, alpha=0.6, linewidths=0, label=kind, rasterized=True)
    rest = points[~np.isin(column, shown)]
    if len(rest):
        label = f"{len(kinds) - len(shown)} others"
        axes.scatter(rest[:, 0], rest[:, 1], s=9, color="#d5dadf", linewidths=0, label=label, rasterized=True, zorder=0)


def check_picture(path: Path) -> None:
    """HarnetError unless `path` is a name that `save_picture` can write to: said before the work, not after it."""
    if path.suffix.lower() not in FORMATS:
        raise HarnetError(f"{path}: a picture's name ends in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise HarnetError(f"{path}: there is no folder {path.parent}: make it, or choose another")


def save_picture(figure: "Figure", path: Path) -> None:
    """SVG or PNG by the name of `path`; the same figure gives the same bytes. HarnetError as of `check_picture`."""
    import matplotlib as mpl

    check_picture(path)
    kind = path.suffix.lower().lstrip(".")
    # Text stays text in an SVG; without a date and with fixed ids it repeats.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "harnet"}), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
