"""Figures of the report as inline SVG: sharp at any size, with selectable text and no external resources."""

import io
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harnet.evaluation.arms import ARMS, FUSED
from harnet.evaluation.drawing import PALETTE, scatter
from harnet.evaluation.trials import EVERYBODY
from harnet.report.report_inputs import Plane

COLOURS = dict(
    zip(
        [arm for arm in ARMS if arm not in FUSED],
        ("#8a6d3b", "#c7a252", "#8c96a0", "#b5669c", "#d9a3c6", "#7d4a6d", "#5aa0c8", "#2f7fb0", "#3f8f5a", "#14506b"),
        strict=True,
    )
)
"""Colour of each arm; distinguishable in print and with red-green colour blindness."""
COLOURS |= {fused: COLOURS[part] for fused, part in FUSED.items()}
MARKERS = dict(zip(ARMS, "sP^dv<phD>X8o*", strict=True))
"""Marker of each arm, since fused arms share a colour with one of their parts. Filled ones: their edges are white."""
INK, QUIET = "#1f2933", "#5b6770"

_STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 9.5,
    "axes.edgecolor": "#b8c0c8",
    "axes.labelcolor": QUIET,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "grid.color": "#e4e8eb",
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "harnet",
}


def forest_plot(table: dict[str, Any]) -> str:
    """Mean and interval of each arm, with one mark per person behind it."""
    with _figure(6.2, 0.52 * len(table["arms"]) + 0.75) as (figure, out):
        axes = figure.subplots()
        for place, row in enumerate(reversed(table["arms"])):
            colour, found = COLOURS[row["arm"]], row["macro_f1"]
            # One line with gaps in it: a mark for each person would be most of the page.
            x = [x for value in row["people"].values() for x in (value, value, math.nan)]
            y = [place - 0.2, place + 0.2, math.nan] * len(row["people"])
            axes.plot(x, y, color=colour, alpha=0.55, linewidth=1)
            axes.plot([found["low"], found["high"]], [place, place], color=colour, linewidth=2.5, solid_capstyle="butt")
            axes.plot(found["mean"], place, MARKERS[row["arm"]], color=colour, markersize=8, markeredgecolor="white")
        axes.set_yticks(range(len(table["arms"])), [row["arm"] for row in reversed(table["arms"])], color=INK)
        axes.set(xlim=(0, 1), ylim=(-0.6, len(table["arms"]) - 0.4), xlabel="macro F1 of a person")
        axes.tick_params(left=False)
        axes.grid(axis="x")
        axes.set_axisbelow(True)
    return out[0]


def efficiency(tables: Sequence[dict[str, Any]], kind: str) -> str:
    """Label-efficiency curve: macro F1 of each arm against the number of labelled people or fraction of windows."""
    points: dict[str, list[tuple[float, dict[str, float]]]] = defaultdict(list)
    for table in tables:
        for row in table["arms"]:
            points[row["arm"]].append((float(table["budget"].partition("-")[2]), row["macro_f1"]))
    with _figure(6.2, 3.2) as (figure, out):
        axes = figure.subplots()
        for arm, found in points.items():
            found.sort(key=lambda point: point[0])
            places = [place for place, _ in found]
            low, mean, high = ([values[name] for _, values in found] for name in ("low", "mean", "high"))
            axes.fill_between(places, low, high, color=COLOURS[arm], alpha=0.12, linewidth=0)
            axes.plot(places, mean, color=COLOURS[arm], marker=MARKERS[arm], markeredgecolor="white", label=arm)
        axes.set_xscale("log")
        ticks = sorted({place for found in points.values() for place, _ in found})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        label = "labelled people" if kind == "people" else "fraction of labelled windows"
        axes.set(ylim=(0, 1), xlabel=label, ylabel="macro F1")
        axes.grid(axis="y")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return out[0]


def plane(found: Plane, by: str) -> str:
    """Scatter plot of the first two principal components, coloured by activity or device."""
    names = found.activity if by == "activity" else found.device
    with _figure(5.2, 3.6) as (figure, out):
        axes = figure.subplots()
        scatter(axes, found.points, names)
        x, y = (f"component {n}, {share:.0%} of variance" for n, share in enumerate(found.explained, start=1))
        axes.set(xlabel=x, ylabel=y, title=f"by {by}", xticks=[], yticks=[])
        below: Any = {"loc": "upper left", "bbox_to_anchor": (0, -0.12), "ncols": 2, "fontsize": 9}
        axes.legend(markerscale=2, handletextpad=0.3, columnspacing=1.0, **below)
    return out[0]


def curves(log: Sequence[dict[str, Any]]) -> list[str]:
    """Losses, accuracies and probe scores of a pretraining run, one figure each."""
    series: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in log:
        for name, value in row.items():
            if name in ("kind", "step") or isinstance(value, bool) or not isinstance(value, int | float):
                continue
            panel = name.split("/")[0] if name == "loss" or "/" in name else ""
            if panel in ("loss", "accuracy", "probe"):
                series[panel][f"{row['kind']} {name.replace('/', ' ')}"].append((row["step"], float(value)))
            elif row["kind"] == "probe":
                series["probe"][name.replace("/", " ").replace("_", " ")].append((row["step"], float(value)))
    made = []
    for panel, lines in sorted(series.items(), key=lambda item: ("loss", "accuracy", "probe").index(item[0])):
        with _figure(6.2, 2.9) as (figure, out):
            _lines(figure.subplots(), panel, lines)
        made.append(out[0])
    return made


def _lines(axes: Axes, panel: str, lines: dict[str, list[tuple[int, float]]]) -> None:
    kinds = sorted({name.split(" ", 1)[-1] for name in lines})
    for name, points in lines.items():
        steps, values = zip(*points, strict=True)
        colour = PALETTE[kinds.index(name.split(" ", 1)[-1]) % len(PALETTE)]
        held = not name.startswith("train")
        axes.plot(
            steps,
            values,
            color=colour,
            linestyle="-" if held else (0, (1.5, 1)),
            marker="o" if held else None,
            markersize=3.5,
            linewidth=1.4 if held else 1.2,
            alpha=1.0 if held else 0.85,
            label=name.replace("_", " "),
        )
    title = {"loss": "Loss", "accuracy": "Accuracy of the pretext tasks", "probe": "Probe on labelled windows"}[panel]
    axes.set(xlabel="step", title=title)
    if panel != "loss":
        axes.set_ylim(0, 1)
    axes.grid(axis="y")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)


def curve_tables(tables: Sequence[dict[str, Any]]) -> list[tuple[str, str, list[dict[str, Any]]]]:
    """Data set, kind of budget, and tables of each label-efficiency curve."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for table in tables:
        if table["budget"] != EVERYBODY:
            groups[table["dataset"], table["budget"].partition("-")[0]].append(table)
    return [(dataset, kind, found) for (dataset, kind), found in groups.items()]


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple[Figure, list[str]]]:
    """A figure of this size in inches; on exit its SVG element is appended to the list. Leaves matplotlib's state."""
    out: list[str] = []
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, out
        text = io.StringIO()
        # Without a date, equal figures give equal bytes.
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(text, format="svg", metadata=nothing, dpi=150)
    made = text.getvalue()
    out.append(made[made.index("<svg") :])
