"""Features of labelled windows on a plane (UMAP), of an encoder and of the same encoder freshly drawn.

    python -m harnet.evaluation.feature_map weights labelled/adl --out features.svg

Coloured by activity and by person, and by device where several folders of labelled windows are named. Needs
`pip install 'harnet[interpret]'`; the weights may have a classifier, which is not looked at.
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
    """Windows on the plane, and what they are coloured by."""

    windows: NDArray[np.float32]
    """(n, 3, L) in g at 30 Hz."""
    activity: list[str]
    """Label of each window; the same label in several folders is one activity."""
    person: list[str]
    """Wearer of each window, "folder: wearer" if there are several folders."""
    device: list[str]
    """Device that the folder's dataset.json names, or the folder."""
    total: int
    """Windows in the folders."""


@dataclass(frozen=True)
class EncoderRow:
    """One encoder's features."""

    name: str
    """Of the encoder, for people."""
    places: NDArray[np.float32]
    """(n, 2), as `place` returns them."""
    agreement: float
    """Of the nearest windows of other people, the share with the same activity; see `agreement`."""
    chance: float
    """The same of any windows of other people."""


def read_shown(folders: Sequence[Path], architecture: str) -> Shown:
    """Windows of each folder, at most `drawing.POINTS` of all; HarnetError as `read_windows` raises it."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise HarnetError(f"{folders[-1]}: two folders of one name: their windows could not be told apart")
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
    """The bundle's encoder with the parameters that training from scratch would start from."""
    config = bundle.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(config.architecture, standardise=config.standardise, width=config.width)


def features(encoder: Encoder, windows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, F) of windows (n, 3, L), each feature with mean 0 and deviation 1, so that none counts for its scale."""
    from sklearn.preprocessing import StandardScaler

    scaled: NDArray[np.float32] = StandardScaler().fit_transform(encode(encoder, torch.from_numpy(windows), "cpu"))
    return scaled


def place(found: NDArray[np.float32], neighbours: int = NEIGHBOURS, seed: int = 0) -> NDArray[np.float32]:
    """(n, F) -> (n, 2) by UMAP (McInnes et al., arXiv:1802.03426), the same for the same seed on the same machine.

    It starts from principal components: distances between clusters mean more so than from a random or spectral start
    (Kobak and Linderman, Nature Biotechnology 39:156, 2021). HarnetError unless 2 <= neighbours < n.
    """
    _check_neighbours(neighbours, len(found))
    from umap import UMAP

    # With a seed UMAP works on one thread, and warns where it was not asked to.
    places: NDArray[np.float32] = UMAP(n_neighbors=neighbours, init="pca", random_state=seed, n_jobs=1).fit_transform(
        found
    )
    return places


def agreement(
    found: NDArray[np.float32], activity: Sequence[str], person: Sequence[str], neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Share of the `neighbours` nearest windows of other people that have a window's activity, and of all of theirs.

    Means over the windows. Nearest by the features (n, F), not on the plane, which tears and squeezes; of other
    people, since windows of one recording lie together whatever was done, and may overlap. 0 where there are none.
    """
    from sklearn.neighbors import NearestNeighbors

    names, people = np.array(activity), np.array(person)
    same, chance = np.zeros(len(found)), np.zeros(len(found))
    for who in np.unique(people):
        own = people == who
        others, wanted = names[~own], names[own][:, None]
        if not len(others):
            continue
        search = NearestNeighbors(n_neighbors=min(neighbours, len(others))).fit(found[~own])
        same[own] = (others[search.kneighbors(found[own], return_distance=False)] == wanted).mean(axis=1)
        chance[own] = (others == wanted).mean(axis=1)
    return float(same.mean()), float(chance.mean())


def compare(bundle: Bundle, shown: Shown, neighbours: int = NEIGHBOURS, seed: int = 0) -> tuple[EncoderRow, EncoderRow]:
    """The bundle's encoder and a freshly drawn one on the same windows: what of a picture is the training's doing?"""
    _check_neighbours(neighbours, len(shown.windows))
    rows = []
    encoders = {"these weights": build_encoder(bundle), "freshly drawn": freshly_drawn(bundle, seed)}
    with bar(2 * len(encoders), "feature map", "step") as progress:
        for name, encoder in encoders.items():
            found = features(encoder, shown.windows)
            same, chance = agreement(found, shown.activity, shown.person, neighbours)
            progress.update()
            rows.append(EncoderRow(name, place(found, neighbours, seed), same, chance))
            progress.update()
    return rows[0], rows[1]


def draw(rows: Sequence[EncoderRow], shown: Shown, title: str, path: Path) -> None:
    """A row an encoder, a column a colouring; SVG or PNG by the name of `path`. People get a colour and no name."""
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
            f"of the nearest windows of other people\n{row.agreement:.0%} do the same, {row.chance:.0%} by chance"
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
        raise HarnetError(f"neighbours {neighbours}: from 2 to {windows - 1}, there are {windows} windows")


def _device(folder: Path, name: str) -> str:
    """What dataset.json says, as the page of results shows it."""
    path = folder / FACTS
    if not path.is_file():
        return name
    try:
        facts = json.loads(path.read_text())
    except ValueError as error:
        raise HarnetError(f"{path}: not JSON ({error}): write it again with harnet dataset windows") from error
    return str(facts.get("device", name)) if isinstance(facts, dict) else name


def main() -> int:
    """The picture, and a line for each encoder."""
    parser = argparse.ArgumentParser(
        prog="python -m harnet.evaluation.feature_map",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("weights", help="folder of weights")
    parser.add_argument("data", type=Path, nargs="+", help="folder of labelled windows; several for several devices")
    parser.add_argument("--neighbours", type=int, default=NEIGHBOURS, help="of each window, to UMAP: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of UMAP and of the fresh encoder: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("features.svg"), help="SVG or PNG: %(default)s")
    arguments = parser.parse_args()
    # What is missing is said before minutes of work.
    import umap  # noqa: F401

    check_picture(arguments.out)
    if not 0 <= arguments.seed < 2**32:
        raise HarnetError(f"--seed {arguments.seed}: from 0 to {2**32 - 1}")
    bundle = read_bundle(arguments.weights)
    shown = read_shown(arguments.data, bundle.config.architecture)
    rows = compare(bundle, shown, arguments.neighbours, arguments.seed)
    title = (f"{len(shown.windows):,} of {shown.total:,} windows, {len(set(shown.person))} people; "
             f"UMAP, {arguments.neighbours} neighbours, seed {arguments.seed}")  # fmt: skip
    draw(rows, shown, title, arguments.out)
    for row in rows:
        print(f"{row.name}: of the nearest windows of other people {row.agreement:.0%} do the same, "
              f"{row.chance:.0%} by chance")  # fmt: skip
    print(f"{arguments.out}: {title}")
    return 0


if __name__ == "__main__":
    exit_with(lambda: guarded("feature_map", "interpret,evaluate", main))
