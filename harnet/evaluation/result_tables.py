"""Turns finished pieces into `results.json` and three CSV tables: scores of people, means, paired differences."""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

import harnet
from harnet.evaluation.arms import ARMS, SCRATCH
from harnet.evaluation.scores import difference, interval
from harnet.evaluation.trials import EVERYBODY, read_pieces
from harnet.files import write_atomically

RESULTS = "results.json"
METRICS = ("macro_f1", "kappa")

_Key = tuple[str, str, str]
"""Data set, protocol, budget."""


def write_tables(out: Path, settings: dict[str, Any], weights: str) -> dict[str, Any]:
    """Read every piece in `out`, write results.json and the tables; returns what is in results.json."""
    pieces = read_pieces(out)
    groups: dict[_Key, list[dict[str, Any]]] = defaultdict(list)
    for piece in pieces:
        groups[piece["dataset"], piece["protocol"], piece["budget"]].append(piece)
    tables = [_table(key, groups[key], settings) for key in sorted(groups, key=_order)]
    results = {
        "harnet": harnet.__version__,
        "settings": settings,
        "weights": json.loads(weights),
        "tables": tables,
    }
    write_atomically(out / RESULTS, json.dumps(results, indent=1) + "\n")
    _write_csv(out / "scores.csv", _score_rows(pieces))
    _write_csv(out / "summary.csv", (_flat(table, row) for table in tables for row in table["arms"]))
    _write_csv(out / "differences.csv", (_flat(table, row) for table in tables for row in table["differences"]))
    return results


def _order(key: _Key) -> tuple[Any, ...]:
    dataset, protocol, budget = key
    kind, _, amount = budget.partition("-")
    return dataset, protocol != "robust", kind != EVERYBODY, kind, float(amount or 0)


def _table(key: _Key, pieces: list[dict[str, Any]], settings: dict[str, Any]) -> dict[str, Any]:
    """All arms of one data set, protocol and budget."""
    values = {arm: _by_person([piece for piece in pieces if piece["arm"] == arm]) for arm in ARMS}
    values = {arm: found for arm, found in values.items() if found["macro_f1"]}
    return {
        "dataset": key[0],
        "protocol": key[1],
        "budget": key[2],
        "arms": [_arm(arm, pieces, values[arm]) for arm in values],
        "differences": [
            {
                "one": one,
                "other": other,
                "metric": metric,
                **asdict(difference(values[one][metric], values[other][metric])),
            }
            for other, one in combinations(values, 2)
            for metric in METRICS
        ],
        "notes": _notes(key, pieces),
        "classes": settings["data"].get(key[0], {}).get("classes", []),
    }


def _by_person(pieces: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Metric -> person -> mean score over seeds, and over splits if a person is tested in several."""
    found: dict[str, dict[str, list[float]]] = {metric: defaultdict(list) for metric in METRICS}
    for piece in pieces:
        for person in piece["people"]:
            for metric in METRICS:
                if person[metric] is not None:
                    found[metric][person["person"]].append(person[metric])
    return {metric: {name: mean(scores) for name, scores in people.items()} for metric, people in found.items()}


def _arm(arm: str, pieces: list[dict[str, Any]], values: dict[str, dict[str, float]]) -> dict[str, Any]:
    own = [piece for piece in pieces if piece["arm"] == arm]
    seeds = sorted({piece["seed"] for piece in own})
    each = [mean(p["macro_f1"] for piece in own if piece["seed"] == seed for p in piece["people"]) for seed in seeds]
    counts = np.sum([person["confusion"] for piece in own for person in piece["people"]], axis=0)
    return {
        "arm": arm,
        "folds": len({piece["fold"] for piece in own}),
        "seeds": len(seeds),
        "macro_f1": asdict(interval(values["macro_f1"])),
        "kappa": asdict(interval(values["kappa"])),
        "macro_f1_seed_sd": float(np.std(each, ddof=1)) if len(each) > 1 else None,
        "people": values["macro_f1"],
        "confusion": counts.tolist(),
    }


def _notes(key: _Key, pieces: list[dict[str, Any]]) -> list[str]:
    """Caveats that a reader must know to interpret the table."""
    notes = []
    trained = [piece["training"] for piece in pieces if piece["arm"] == SCRATCH and piece["training"]]
    if trained:
        kept, epoch = (median(row[name] for row in trained) for name in ("kept", "steps_per_epoch"))
        steps = median(row["steps"] for row in trained)
        notes.append(
            f"From scratch: a median of {steps:g} training steps, step {kept:g} kept, {epoch:g} steps per epoch."
        )
        if key[1] == "published" and steps < 200:
            notes.append(
                f"The published protocol stops after five epochs without improvement, here {5 * epoch:g} steps: a "
                "network may stop before it has learnt anything and be underestimated; compare with robust."
            )
    done = {(piece["arm"], piece["seed"], piece["fold"]) for piece in pieces}
    wanted = len({arm for arm, _, _ in done}) * len({seed for _, seed, _ in done}) * len({fold for _, _, fold in done})
    if len(done) < wanted:
        notes.append(f"Unfinished: {len(done)} of {wanted} pieces.")
    people = {person["person"] for piece in pieces for person in piece["people"]}
    if len(people) < 15:
        notes.append(
            f"{len(people)} people: percentile intervals over so few people are too narrow; the true ones are wider."
        )
    return notes


def _score_rows(pieces: list[dict[str, Any]]) -> Iterable[dict[str, Any]]:
    for piece in pieces:
        head = {name: piece[name] for name in ("dataset", "protocol", "budget", "arm", "seed", "fold")}
        for person in piece["people"]:
            yield {**head, **{name: person[name] for name in ("person", "windows", *METRICS)}}


def _flat(table: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
    head = {name: table[name] for name in ("dataset", "protocol", "budget")}
    for name, value in row.items():
        if name in METRICS:
            head |= {name: value["mean"], f"{name}_low": value["low"], f"{name}_high": value["high"]}
        elif not isinstance(value, dict | list):
            head[name] = value
    return head


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(listed[0]) if listed else ["dataset"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)
    write_atomically(path, text.getvalue())
