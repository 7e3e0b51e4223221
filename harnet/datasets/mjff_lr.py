"""MJFF Levodopa Response Study (Daneault et al., Sci Data 8:48, 2021): GENEActiv, 50 Hz, Parkinson's disease.

On Synapse (syn20681023), on application. `GENEActiv/<subject>/rawdata_day<k>.txt`, tab-separated `timestamp`, `X`, `Y`,
`Z`, `Magnitude`: seconds since 1970 and g. The table of task scores (`TaskScoresPartI.csv`, in other exports
`tbl_task_scores_-_part_i.csv`) has `subject_id`, `task_code`, `timestamp_start`, `timestamp_end`, one row per symptom.
This parser was written from descriptions and never tested on the real files: check the summary that it prints.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet.datasets.cutting import UNLABELLED, WindowCutting, Windows, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError

RATE = 50
LONGEST_GAP = 0.5
"""Longest gap within a stretch, in seconds; our choice."""

_SENSOR = re.compile(r"rawdata_day\d+\.(?:txt|csv)", re.IGNORECASE)
_TASKS = re.compile(r"(?:tbl_)?task_?scores_?-?_?part_?i\.csv", re.IGNORECASE)
_COLUMNS = ("subject_id", "task_code", "timestamp_start", "timestamp_end")
_EXPECTED = "GENEActiv/<subject>/rawdata_day<k>.txt and TaskScoresPartI.csv of the MJFF Levodopa Response Study"


def read(folder: Path, cutting: WindowCutting) -> ParsedDataset:
    """Windows within tasks, labelled by task code; HarnetError if tables are missing or malformed."""
    tasks = _tasks(folder)
    classes = sorted(set(tasks["task_code"]))
    made = Windows(cutting, classes)
    paths = [path for path in sorted(folder.rglob("*")) if _SENSOR.fullmatch(path.name) and "GENEActiv" in path.parts]
    without = 0
    for path in paths:
        person = path.parent.name
        own = tasks[tasks["subject_id"] == person]
        without += not len(own)
        if len(own):
            times, signal = _signal(path)
            labels = _labels(times, own, classes)
            for part in stretches(times, LONGEST_GAP):
                made.add(person, signal[part], labels[part], RATE)
    notes = [f"{without} recordings of people without a task in the table"] if without else []
    return made.finish(str(folder), _EXPECTED, notes)


def _tasks(folder: Path) -> Any:
    import pandas as pd

    found = [path for path in sorted(folder.rglob("*.csv")) if _TASKS.fullmatch(path.name)]
    if not found:
        raise HarnetError(f"{folder}: contains no table of task scores; expected {_EXPECTED}")
    table = pd.read_csv(found[0], dtype=str)
    if absent := [name for name in _COLUMNS if name not in table.columns]:
        raise HarnetError(f"{found[0]}: no column {absent[0]!r}; found {', '.join(table.columns)}")
    table = table[list(_COLUMNS)].dropna().drop_duplicates()
    try:
        return table.astype({"timestamp_start": float, "timestamp_end": float})
    except ValueError as error:
        raise HarnetError(f"{found[0]}: times are not seconds since 1970 ({error})") from error


def _signal(path: Path) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    import pandas as pd

    try:
        table = pd.read_csv(path, sep=r"[\t,]", engine="python", usecols=["timestamp", "X", "Y", "Z"], dtype=float)
    except (ValueError, EOFError) as error:
        first = str(error).splitlines()[0]
        raise HarnetError(f"{path}: not a table of timestamp, X, Y, Z, Magnitude ({first})") from error
    return table["timestamp"].to_numpy(), table[["X", "Y", "Z"]].to_numpy()


def _labels(times: NDArray[np.floating], own: Any, classes: list[str]) -> NDArray[np.int64]:
    labels = np.full(len(times), UNLABELLED)
    for row in own.itertuples():
        labels[(times >= row.timestamp_start) & (times < row.timestamp_end)] = classes.index(row.task_code)
    return labels
