"""Summary of a prediction for the terminal: minutes of each class, per day or over people."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harnet.apply.summary_tables import MINUTES_A_DAY

MOST_DAYS = 31
"""Maximum number of rows on a terminal."""


def minutes_lines(out: Path, classes: Sequence[str]) -> list[str]:
    """Table for a terminal, from the tables in `out`: one row per day for a single person, or mean days for several."""
    with (out / "person_days.csv").open(newline="") as file:
        days = list(csv.DictReader(file))
    columns = ["wear_minutes", *(f"minutes_{name}" for name in classes)]
    titles = ["worn", *(name.replace("_", " ") for name in classes)]
    widths = [max(6, len(title)) for title in titles]
    people = {row["participant"] for row in days}
    if not days:
        return ["no wear detected: nothing to classify"]
    lines = ["minutes     " + "".join(f"  {title:>{width}}" for title, width in zip(titles, widths, strict=True))]

    def row(name: str, values: Sequence[float]) -> str:
        return f"{name:<12}" + "".join(f"  {value:{width}.0f}" for value, width in zip(values, widths, strict=True))

    if len(people) == 1:
        lines += [row(day["date"], [float(day[column]) for column in columns]) for day in days[:MOST_DAYS]]
        if len(days) > MOST_DAYS:
            lines.append(f"... {len(days) - MOST_DAYS} more days in {out / 'person_days.csv'}")
    with (out / "people.csv").open(newline="") as file:
        whole = [person for person in csv.DictReader(file) if person[columns[1]]]
    if whole:
        means = [float(np.mean([float(person[column]) for person in whole])) for column in columns[1:]]
        lines.append(row("usual day" if len(people) == 1 else f"{len(whole)} people", [MINUTES_A_DAY, *means]))
    elif len(people) > 1:
        lines = [f"no person wore the device in every hour of the day; see {out / 'person_days.csv'}"]
    return lines
