"""Shared by all figures: colours, scatter plots, and atomic writing of picture files."""

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
"""Maximum number of points in a scatter plot: more overlap. Below 4,096, UMAP's neighbour search is exact."""


def evenly(windows: int, data_sets: int) -> NDArray[np.int64]:
    """Evenly spaced indices into a data set's `windows`, so that all `data_sets` together show at most `POINTS`."""
    taken: NDArray[np.int64] = np.unique(np.linspace(0, windows - 1, POINTS // data_sets).astype(np.int64))
    return taken


def scatter(axes: "Axes", points: NDArray[np.floating], names: Sequence[str]) -> None:
    """Scatter plot of `points` (n, 2), coloured by the ten most frequent `names`; all others are grey."""
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
    """Raise HarnetError unless `save_picture` can write to `path`; call it before the work, not after it."""
    if path.suffix.lower() not in FORMATS:
        raise HarnetError(f"{path}: the name of a picture must end in {' or '.join(FORMATS)}")
    if not path.parent.is_dir():
        raise HarnetError(f"{path}: the folder {path.parent} does not exist: create it, or choose another")


def save_picture(figure: "Figure", path: Path) -> None:
    """Save as SVG or PNG, by the suffix of `path`; the same figure gives the same bytes.

    HarnetError as `check_picture` raises it.
    """
    import matplotlib as mpl

    check_picture(path)
    kind = path.suffix.lower().lstrip(".")
    # Text stays text in an SVG; omitting the date and fixing the ids makes the file reproducible.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "harnet"}), atomic_path(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=150, metadata={"Date": None} if kind == "svg" else None)
