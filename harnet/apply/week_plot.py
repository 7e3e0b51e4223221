"""Picture of the classes in one recording: one row per day, one column per minute, one colour per class, grey where
not worn."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harnet.apply.summaries import SECONDS_PER_DAY
from harnet.files import atomic_path

MINUTES = 1440
MOST_DAYS = 60
"""Maximum number of rows; of a longer recording, the first days are shown."""
COLOURS = ("#3b4a8c", "#8fb3d9", "#6cae4f", "#f2b134", "#c8413b", "#7d5ba6", "#8a6d3b", "#5aa0c8", "#c46f9a", "#3f7f6b")
"""Colours of the classes, in order; they differ in lightness too, for colour-blind readers. They repeat after ten
classes."""
NOT_WORN = "#e6e6e6"


def minutes_by_day(
    time: NDArray[np.int64], classes: NDArray[np.int64], step: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Days since 1970 (d,), and the most frequent class in each of their minutes (d, 1440), -1 if not worn.

    `time` (n,) holds the starts of windows, in seconds since 1970 on the wall clock; each window represents `step`
    seconds. `classes` (n,) holds class indices.
    """
    first = time.min() // SECONDS_PER_DAY
    days = np.arange(first, (time + step - 1).max() // SECONDS_PER_DAY + 1)[:MOST_DAYS]
    count = int(classes.max()) + 1
    votes = np.zeros((len(days) * MINUTES, count), np.int32)
    # A window may extend into the following minutes: each of its ten-second pieces has one vote.
    for offset in range(0, step, min(step, 10)):
        minute = (time + offset) // 60 - first * MINUTES
        shown = minute < len(votes)
        np.add.at(votes, (minute[shown], classes[shown]), 1)
    chosen = np.where(votes.any(axis=1), votes.argmax(axis=1), -1)
    return days, chosen.reshape(len(days), MINUTES)


def draw(windows: Path, names: Sequence[str], step: int, picture: Path) -> None:
    """Draw a table of windows from `harnet predict` as a PNG; needs matplotlib. No file is written without windows."""
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    table = pq.read_table(windows, columns=["time", "class"])
    if not table.num_rows:
        return
    time = table["time"].to_numpy().astype("datetime64[s]").astype(np.int64)
    places = np.array([names.index(name) for name in table["class"].combine_chunks().dictionary.to_pylist()])
    classes = places[table["class"].combine_chunks().indices.to_numpy()]
    days, minutes = minutes_by_day(time, classes, step)
    colours = [COLOURS[place % len(COLOURS)] for place in range(len(names))]
    figure = Figure(figsize=(10, 1.6 + 0.42 * len(days)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(minutes, aspect="auto", interpolation="nearest", extent=(0, 24, len(days), 0), vmin=-1,
                vmax=len(names) - 1, cmap=ListedColormap([NOT_WORN, *colours]))  # fmt: skip
    axes.set_yticks(np.arange(len(days)) + 0.5, [_day(day) for day in days.tolist()])
    worn = np.flatnonzero((minutes >= 0).any(axis=0))
    first, last = (0, 24) if len(days) > 1 else (int(worn[0]) // 60, int(worn[-1]) // 60 + 1)
    ticks = range(first, last + 1, 3 if last - first > 6 else 1)
    axes.set_xticks(ticks, [f"{hour:02d}:00" for hour in ticks])
    axes.set_xlim(first, last)
    axes.tick_params(length=0)
    for edge in range(1, len(days)):
        axes.axhline(edge, color="white", linewidth=3)
    axes.spines[:].set_visible(False)
    legend = [*(Patch(color=colour, label=name.replace("_", " ")) for name, colour in zip(names, colours, strict=True)),
              Patch(color=NOT_WORN, label="not worn")]  # fmt: skip
    figure.legend(handles=legend, loc="outside lower center", ncols=min(6, len(legend)), frameon=False)
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="png", dpi=130)


def _day(day: int) -> str:
    return np.datetime64(day, "D").astype(object).strftime("%a %d %b")
