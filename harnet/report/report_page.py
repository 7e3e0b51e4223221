"""A self-contained HTML report: no scripts, no external resources."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from markupsafe import Markup

import harnet
from harnet.errors import HarnetError
from harnet.evaluation.arms import ARMS, is_question
from harnet.evaluation.trials import EVERYBODY
from harnet.files import write_atomically
from harnet.html.templates import page_environment
from harnet.report import figures, report_inputs

UNEXPLAINED = "The results do not extend to other people, devices or data sets."


@dataclass(frozen=True)
class ReportConfig:
    """Inputs and output of the report."""

    results: Path
    """Folder that harnet evaluate wrote."""
    page: Path
    """HTML file to write."""
    run: Path | None = None
    """Folder of the pretraining run that produced the weights."""
    data: Path = Path("labelled")
    """Folder of labelled windows, for the labels of the points in the feature plot."""
    flow: Path | None = None
    """flow.json of harnet quality, or its folder."""


def write_page(config: ReportConfig) -> list[str]:
    """Write the report; returns one line for each part that is missing. HarnetError if a given folder is invalid."""
    results = report_inputs.read_results(config.results)
    if config.page.is_dir():
        raise HarnetError(f"{config.page}: is a folder: pass the name of an HTML file")
    lacking = []
    plane = report_inputs.read_plane(config.results, config.data, results)
    if plane is None:
        lacking.append(f"no feature plot: {config.data} does not contain the labelled windows (--data)")
    if config.run is None:
        lacking.append("no pretraining curves: pass the folder of the run that produced the weights")
    if config.flow is None:
        lacking.append("no flow of recordings: pass the flow.json of harnet quality with --flow")
    log = report_inputs.read_run_log(config.run) if config.run else None
    main = [_main(table) for table in results["tables"] if table["budget"] == EVERYBODY]
    context = {
        "version": harnet.__version__,
        "results": results,
        "tables": main,
        "arms": ARMS,
        "overview": overview(results["tables"]),
        "curves": [(dataset, kind, Markup(figures.efficiency(found, kind)), _seeds(found))
                   for dataset, kind, found in figures.curve_tables(results["tables"])],
        "planes": [Markup(figures.plane(plane, by)) for by in _colourings(plane)] if plane else [],
        "points": len(plane.points) if plane else 0,
        "pretraining": [Markup(svg) for svg in figures.curves(log)] if log is not None else [],
        "flow": _flow(report_inputs.read_flow(config.flow)) if config.flow else None,
        "provenance": _provenance(results),
        "datasets": results["settings"]["data"],
        "lacking": lacking,
        "caveat": UNEXPLAINED,
    }  # fmt: skip
    config.page.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(config.page, _template().render(context))
    return lacking


def overview(tables: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One table per protocol, arms × data sets; the highest mean of each row is marked."""
    made = []
    for protocol in dict.fromkeys(table["protocol"] for table in tables):
        rows = []
        for table in tables:
            if table["protocol"] == protocol and table["budget"] == EVERYBODY:
                arms = {row["arm"]: row["macro_f1"] for row in table["arms"]}
                best = max(arms, key=lambda arm: arms[arm]["mean"])
                rows.append({"dataset": table["dataset"], "arms": arms, "best": best})
        if rows:
            made.append({"protocol": protocol, "rows": rows})
    return made


def verdict(row: dict[str, Any]) -> str:
    """Conclusion from a paired difference and its interval."""
    if row["low"] > 0:
        return f"{row['one']} better"
    if row["high"] < 0:
        return f"{row['other']} better"
    return "inconclusive"


def _main(table: dict[str, Any]) -> dict[str, Any]:
    differences = [
        {**row, "verdict": verdict(row)}
        for row in table["differences"]
        if row["metric"] == "macro_f1" and is_question(row)
    ]
    return {
        **table,
        "picture": Markup(figures.forest_plot(table)),
        "differences": differences,
        "matrices": [(row["arm"], _shares(row["confusion"])) for row in table["arms"]],
    }


def _shares(counts: list[list[int]]) -> list[list[dict[str, Any]]]:
    """Each count with its share of the row; the cell colours show the shares."""
    rows = np.array(counts)
    shares = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1)
    return [[{"count": int(count), "share": float(share)} for count, share in zip(*pair, strict=True)]
            for pair in zip(rows, shares, strict=True)]  # fmt: skip


def _colourings(plane: report_inputs.Plane) -> list[str]:
    """By activity, and by device if there are several."""
    return ["activity", "device"] if len(set(plane.device)) > 1 else ["activity"]


def _seeds(tables: list[dict[str, Any]]) -> int:
    return max((row["seeds"] for table in tables for row in table["arms"]), default=0)


def _flow(found: dict[str, Any]) -> list[tuple[str, Any]]:
    """Name and value of each row of the flow table; excluded recordings have one row per rule."""
    rows: list[tuple[str, Any]] = []
    for name, value in found.items():
        if isinstance(value, dict):
            rows += [(f"{name}: {inner}", number) for inner, number in value.items()]
        else:
            rows.append((name.replace("_", " "), value))
    return rows


def _provenance(results: dict[str, Any]) -> list[tuple[str, str]]:
    """Provenance of weights and results: name and value of each row."""
    weights, settings = results["weights"], results["settings"]
    rows: list[tuple[str, Any]] = [("weights, SHA-256", settings["weights"])]
    for name in ("architecture", "width", "normalisation", "training_steps", "git_revision", "manifest_digest",
                 "data_use_terms"):  # fmt: skip
        if weights.get(name) not in (None, "", 0):
            rows.append((name.replace("_", " "), weights[name]))
    for name, value in {**weights.get("preprocessing", {}), **weights.get("provenance", {})}.items():
        rows.append((name.replace("_", " "), value))
    rows += [(f"evaluation: {name}", settings[name]) for name in ("torch", "device", "threads")]
    return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in rows]


def _template() -> jinja2.Template:
    environment = page_environment(Path(__file__).parent)
    environment.filters["number"] = lambda value: f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"
    environment.filters["minus"] = lambda text: text.replace("-", "\u2212")
    environment.filters["words"] = lambda text: text.replace("_", " ")
    return environment.get_template("page.html.j2")
