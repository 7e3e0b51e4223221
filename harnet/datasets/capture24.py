"""Capture-24 (Chan Chang et al., Sci Data 2024; Willetts et al. 2018): Axivity AX3, 100 Hz, about a day of 151 people.

`P001.csv.gz` to `P151.csv.gz` with columns time,x,y,z,annotation in g, and annotation-label-dictionary.csv, which maps
annotations to label schemes (`label:Walmsley2020`, `label:Willetts2018`, ...). Windows do not overlap, as published.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harnet.datasets.cutting import UNLABELLED, WindowCutting, Windows, stretches
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.errors import HarnetError
from harnet.progress import bar

RATE = 100
PEOPLE = 151
DICTIONARY = "annotation-label-dictionary.csv"
LONGEST_GAP = 0.1
"""Longest gap within a stretch, in seconds; our choice."""

_NAME = re.compile(r"(P\d{3})\.csv(?:\.gz)?")
_COLUMNS = ["time", "x", "y", "z", "annotation"]


def read(folder: Path, cutting: WindowCutting, scheme: str = "Walmsley2020") -> ParsedDataset:
    """Windows of all people with the labels of `scheme`; HarnetError if there are no recordings or no dictionary."""
    paths = sorted(path for path in folder.rglob("P*.csv*") if _NAME.fullmatch(path.name))
    mapping = _dictionary(folder, scheme) if paths else {}
    classes = sorted(set(mapping.values()))
    made = Windows(replace(cutting, overlap=False), classes)
    with bar(len(paths), "capture-24", "file") as shown:
        for path in paths:
            _add(made, path, mapping, classes)
            shown.update()
    notes = [f"files of {len(paths)} people; the complete data set has {PEOPLE}"] if 0 < len(paths) < PEOPLE else []
    return made.finish(str(folder), "P001.csv.gz and so on of Capture-24", notes)


def _dictionary(folder: Path, scheme: str) -> dict[str, str]:
    import pandas as pd

    found = sorted(folder.rglob(DICTIONARY))
    if not found:
        raise HarnetError(f"{folder}: no {DICTIONARY}: it is distributed with the recordings, fetch it too")
    table = pd.read_csv(found[0], dtype=str)
    column = f"label:{scheme}"
    if not {"annotation", column} <= set(table.columns):
        raise HarnetError(f"{found[0]}: no column {column!r} beside 'annotation'; found {', '.join(table.columns)}")
    known = table.dropna(subset=["annotation", column])
    return dict(zip(known["annotation"], known[column], strict=True))


def _add(made: Windows, path: Path, mapping: dict[str, str], classes: list[str]) -> None:
    table = _table(path)
    # One look-up per distinct annotation, not per sample: there are nine million.
    annotation = table["annotation"].astype("category")
    codes = [classes.index(mapping[text]) if text in mapping else UNLABELLED for text in annotation.cat.categories]
    labels = np.array([*codes, UNLABELLED])[annotation.cat.codes.to_numpy()]
    if not np.isin(labels, range(len(classes))).any() and annotation.notna().any():
        raise HarnetError(f"{path}: no annotation is in {DICTIONARY}, such as {annotation.dropna().iloc[0]!r}")
    # The unit of stored times depends on the pandas version, so it is fixed here.
    times = table["time"].to_numpy().astype("datetime64[ms]").astype(np.int64) / 1000
    signal = table[["x", "y", "z"]].to_numpy(np.float32)
    person = _NAME.fullmatch(path.name)[1]  # type: ignore[index]
    for part in stretches(times, LONGEST_GAP):
        made.add(person, signal[part], labels[part], RATE)


def _table(path: Path) -> Any:
    import pandas as pd

    types: Any = {"x": np.float32, "y": np.float32, "z": np.float32, "annotation": str}
    try:
        return pd.read_csv(path, usecols=_COLUMNS, dtype=types, parse_dates=["time"], date_format="ISO8601")
    except (ValueError, EOFError, OSError) as error:
        first = str(error).splitlines()[0]
        raise HarnetError(f"{path}: not a complete table of {','.join(_COLUMNS)} ({first}): fetch it again") from error
