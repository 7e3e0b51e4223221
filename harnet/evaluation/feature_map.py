"""UMAP plots of the features of labelled windows, from a trained encoder and from the same encoder untrained.

    python -m harnet.evaluation.feature_map weights labelled/adl --out features.svg

Coloured by activity and by person, and by device if several folders of labelled windows are given. Needs
`pip install 'harnet[interpret]'`; a classifier in the weights is ignored.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harnet.console import exit_with, guarded
from harnet.datasets.parsed_dataset import FACTS
from harnet.encoder import Encoder
from harnet.errors import HarnetError
from harnet.evaluation.arms import encode
from harnet.evaluation.drawing import check_picture, evenly, save_picture, scatter
from harnet.progress import bar
from harnet.transfer.labelled_windows import read_windows
from harnet.weights.load import Bundle, build_encoder, read_bundle

NEIGHBOURS = 15
"""UMAP's own default."""


@dataclass(frozen=True)
class Shown:
    """Windows to plot, and the attributes they are coloured by."""

    windows: NDArray[np.float32]
    """(n, 3, L) in g at 30 Hz."""
    activity: list[str]
    """Label of each window; equal labels in several folders are one activity."""
    person: list[str]
    """Wearer of each window, "folder: wearer" if there are several folders."""
    device: list[str]
    """Device according to the folder's dataset.json, or the folder's name."""
    total: int
    """Number of windows in the folders, including those not plotted."""


@dataclass(frozen=True)
class EncoderRow:
    """One encoder's features."""

    name: str
    """Display name of the encoder."""
    places: NDArray[np.float32]
    """(n, 2) UMAP coordinates; see `place`."""
    agreement: float
    """Share of the nearest windows of other people that have the same activity; see `agreement`."""
    chance: float
    """Share of all windows of other people that have the same activity."""


def read_shown(folders: Sequence[Path], architecture: str) -> Shown:
    """Windows of all folders, at most `drawing.POINTS` in total; HarnetError as `read_windows` raises it."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise HarnetError(f"{folders[-1]}: two folders have the same name: rename one, so their windows differ")
    windows, activity, person, device, total = [], [], [], [], 0
    for name, folder in zip(names, folders, strict=True):
        data = read_windows(folder, architecture)
        taken = evenly(len(data.windows), len(folders))
        prefix = f"{name}: " if len(folders) > 1 else ""
        windows.append(data.windows[taken])
        activity += [data.classes[label] for label in data.labels[taken]]
        person += [f"{prefix}{who}" for who in data.people[taken]]
        device += [_device(folder, name)] * len(taken)
        total += len(data.windows)
    return Shown(np.concatenate(windows), activity, person, device, total)


def freshly_drawn(bundle: Bundle, seed: int) -> Encoder:
    """The bundle's encoder with the random parameters that training from scratch would start from."""
    config = bundle.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(config.architecture, standardise=config.standardise, width=config.width)


def features(encoder: Encoder, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (n, F) of windows (n, 3, L) in g, each standardised to mean 0 and deviation 1."""
    from sklearn.preprocessing import StandardScaler

    scaled: NDArray[np.float32] = StandardScaler().fit_transform(encode(encoder, torch.from_numpy(windows), "cpu"))
    return scaled


def place(found: NDArray[np.float32], neighbours: int = NEIGHBOURS, seed: int = 0) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) of features (n, F) (McInnes et al., arXiv:1802.03426).

    Repeatable with the same seed on the same machine. Initialised with principal components, which makes distances
    between clusters more meaningful than a random or spectral initialisation (Kobak and Linderman, Nature
    Biotechnology 39:156, 2021). HarnetError unless 2 <= neighbours < n.
    """
    _check_neighbours(neighbours, len(found))
    from umap import UMAP

    # With a seed UMAP uses one thread, and warns unless n_jobs says so.
    places: NDArray[np.float32] = UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1).fit_transform(
        found
    )
    return places


def agreement(
    found: NDArray[np.float32], activity: Sequence[str], person: Sequence[str], neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Share of the nearest windows of other people that have the same activity, and the same share by chance.

    Both are means over all windows; the chance level is over all windows of other people. Neighbours are found in
    feature space (n, F), because UMAP distorts distances, and among other people, because windows of one recording
    resemble each other whatever the activity, and may overlap. 0 if there are no other people.
    """
    from sklearn.neighbors import NearestNeighbors

    names, people = np.array(activity), np.array(person)
    same, chance = np.zeros(len(found)), np.zeros(len(found))
    for who in np.unique(people):
        own = people == who
        others, expected = names[~own], names[own][:, None]
        if not len(others):
            continue
        search = NearestNeighbors(n_neighbors=min(neighbours, len(others))).fit(found[~own])
        same[own] = (others[search.kneighbors(found[own], return_distance=False)] == expected).mean(axis=1)
        chance[own] = (others == expected).mean(axis=1)
    return float(same.mean()), float(chance.mean())


def compare(bundle: Bundle, shown: Shown, neighbours: int = NEIGHBOURS, seed: int = 0) -> tuple[EncoderRow, EncoderRow]:
    """The trained encoder and an untrained one on the same windows: which structure is due to training?"""
    _check_neighbours(neighbours, len(shown.windows))
    rows = []
    encoders = {"these weights": build_encoder(bundle), "untrained": freshly_drawn(bundle, seed)}
    with bar(2 * len(encoders), "feature map", "step") as progress:
        for name, encoder in encoders.items():
            found = features(encoder, shown.windows)
            same, chance = agreement(found, shown.activity, shown.person, neighbours)
            progress.update()
            rows.append(EncoderRow(name, place(found, neighbours, seed), same, chance))
            progress.update()
    return rows[0], rows[1]


def draw(rows: Sequence[EncoderRow], shown: Shown, title: str, path: Path) -> None:
    """Draw one row per encoder and one column per colouring, as SVG or PNG. People are coloured but not named."""
    from matplotlib.figure import Figure

    columns = {"activity": shown.activity, "person": shown.person}
    if len(set(shown.device)) > 1:
        columns["device"] = shown.device
    figure = Figure(figsize=(4.4 * len(columns), 4.2 * len(rows) + 0.8), layout="constrained")
    panels = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, row in zip(panels, rows, strict=True):
        for axes, (by, names) in zip(line, columns.items(), strict=True):
            scatter(axes, row.places, names)
            axes.set(title=f"{row.name}, by {by}", xticks=[], yticks=[])
            axes.spines[:].set_color("#b8c0c8")
        line[0].set_xlabel(
            f"nearest windows of other people:\n{row.agreement:.0%} have the same activity, {row.chance:.0%} by chance"
        )
    for axes, (by, names) in zip(panels[-1], columns.items(), strict=True):
        if by == "person":
            axes.set_xlabel(f"{len(set(names))} people")
            continue
        below: Any = {"loc": "upper left", "bbox_to_anchor": (0, -0.16), "ncols": 2, "fontsize": 9, "frameon": False}
        axes.legend(markerscale=2, handletextpad=0.3, columnspacing=1.0, **below)
    figure.suptitle(title)
    save_picture(figure, path)


def _check_neighbours(neighbours: int, windows: int) -> None:
    if not 2 <= neighbours < windows:
        raise HarnetError(f"neighbours {neighbours}: must be from 2 to {windows - 1} for {windows} windows")


def _device(folder: Path, name: str) -> str:
    """Device according to dataset.json, or `name`."""
    path = folder / FACTS
    if not path.is_file():
        return name
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise HarnetError(f"{path}: not JSON ({error}): write it again with harnet dataset windows") from error
    return str(facts.get("device", name)) if isinstance(facts, dict) else name


def main() -> int:
    """Command line: draw the figure and print a line for each encoder."""
    parser = argparse.ArgumentParser(
        prog="python -m harnet.evaluation.feature_map",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", help="folder of weights")
    parser.add_argument("data", type=Path, nargs="+", help="folders of labelled windows, such as one per device")
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, help="UMAP neighbours (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of UMAP and the untrained encoder: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("features.svg"), help="SVG or PNG: %(default)s")
    arguments = parser.parse_args()
    # Fail early if a package is missing, not after minutes of work.
    import umap  # noqa: F401

    check_picture(arguments.out)
    if not 0 <= arguments.seed < 2**32:
        raise HarnetError(f"--seed {arguments.seed}: must be from 0 to {2**32 - 1}")
    bundle = read_bundle(arguments.weights)
    shown = read_shown(arguments.data, bundle.config.architecture)
    rows = compare(bundle, shown, arguments.neighbours, arguments.seed)
    title = (f"{len(shown.windows):,} of {shown.total:,} windows, {len(set(shown.person))} people; "
             f"UMAP, {arguments.neighbours} neighbours, seed {arguments.seed}")  # fmt: skip
    draw(rows, shown, title, arguments.out)
    for row in rows:
        print(f"{row.name}: {row.agreement:.0%} of the nearest windows of other people have the same activity, "
              f"{row.chance:.0%} by chance")  # fmt: skip
    print(f"{arguments.out}: {title}")
    return 0


if __name__ == "__main__":
    exit_with(lambda: guarded("feature_map", "interpret", main))
