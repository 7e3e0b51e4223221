"""Writing person-day and person tables: CSV for minutes per class, Parquet for features."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from harnet.apply.summaries import PersonDay, PersonSummary, RecordingSummary, person_tables
from harnet.files import atomic_path

MINUTES_A_DAY = 1440.0
PEOPLE_A_GROUP = 256
"""People buffered in memory per Parquet row group."""

Recordings = Mapping[str, Sequence[Path]]
"""Participant -> summary files of their recordings."""


def write_minutes(out: Path, recordings: Recordings, classes: Sequence[str]) -> tuple[int, int]:
    """Write `person_days.csv` and `people.csv`; returns the number of rows of each.

    A day: minutes worn, `weight` (the fraction of 24 h that was worn), and minutes of each class within the wear time.
    A person: minutes of each class per 24 h with equal weight for each hour of the day (`minutes_CLASS`; empty unless
    all 24 hours were covered), and with days weighted by wear time (`wear_weighted_minutes_CLASS`).
    """
    day_names = ["participant", "date", "wear_minutes", "weight", *(f"minutes_{name}" for name in classes)]
    person_names = ["participant", "days", "wear_minutes", "hours_covered", *(f"minutes_{name}" for name in classes),
                    *(f"wear_weighted_minutes_{name}" for name in classes)]  # fmt: skip
    counts = [0, 0]
    with (
        atomic_path(out / "person_days.csv") as days_path,
        atomic_path(out / "people.csv") as people_path,
        days_path.open("w", newline="") as days_file,
        people_path.open("w", newline="") as people_file,
    ):
        day_rows, person_rows = csv.writer(days_file, lineterminator="\n"), csv.writer(people_file, lineterminator="\n")
        day_rows.writerow(day_names)
        person_rows.writerow(person_names)
        for days, person in _people(recordings):
            for day in days:
                worn = day.wear_seconds / 60
                day_rows.writerow([day.participant, day.day, _text(worn), f"{worn / MINUTES_A_DAY:.4f}",
                                   *map(_text, worn * day.mean)])  # fmt: skip
            if person is not None:
                whole = [""] * len(classes) if person.day_mean is None else map(_text, MINUTES_A_DAY * person.day_mean)
                person_rows.writerow([person.participant, person.days, _text(person.wear_seconds / 60),
                                      person.hours_covered, *whole,
                                      *map(_text, MINUTES_A_DAY * person.wear_mean)])  # fmt: skip
                counts[1] += 1
            counts[0] += len(days)
    return counts[0], counts[1]


def write_features(out: Path, recordings: Recordings, size: int) -> tuple[int, int]:
    """Write `person_days.parquet` and `people.parquet`, each row with a mean feature vector (`size`,) float32.

    A day: `wear_minutes`, `weight`, `features`. A person: `features` with equal weight for each hour of the day (null
    unless all 24 were covered) and `wear_weighted_features`. Returns the number of rows of each table.
    """
    vector = pa.list_(pa.float32(), size)
    day_schema = pa.schema([("participant", pa.string()), ("date", pa.date32()), ("wear_minutes", pa.float64()),
                            ("weight", pa.float64()), ("features", vector)])  # fmt: skip
    person_schema = pa.schema([("participant", pa.string()), ("days", pa.int32()), ("wear_minutes", pa.float64()),
                               ("hours_covered", pa.int32()), ("features", vector),
                               ("wear_weighted_features", vector)])  # fmt: skip
    counts = [0, 0]
    with (
        atomic_path(out / "person_days.parquet") as days_path,
        atomic_path(out / "people.parquet") as people_path,
        pq.ParquetWriter(days_path, day_schema, compression="zstd") as day_writer,
        pq.ParquetWriter(people_path, person_schema, compression="zstd") as person_writer,
    ):
        found: list[tuple[list[PersonDay], PersonSummary | None]] = []
        for one in _people(recordings):
            found.append(one)
            if len(found) == PEOPLE_A_GROUP:
                _flush(found, day_writer, person_writer, counts)
        _flush(found, day_writer, person_writer, counts)
    return counts[0], counts[1]


def _flush(
    found: list[tuple[list[PersonDay], PersonSummary | None]],
    day_writer: pq.ParquetWriter,
    person_writer: pq.ParquetWriter,
    counts: list[int],
) -> None:
    days = [day for rows, _ in found for day in rows]
    people = [person for _, person in found if person is not None]
    found.clear()
    counts[0] += len(days)
    counts[1] += len(people)
    day_writer.write_table(
        pa.table(
            [
                [day.participant for day in days],
                [day.day.astype(object) for day in days],
                [day.wear_seconds / 60 for day in days],
                [day.wear_seconds / 60 / MINUTES_A_DAY for day in days],
                [_vector(day.mean) for day in days],
            ],
            schema=day_writer.schema,
        )
    )
    person_writer.write_table(
        pa.table(
            [
                [person.participant for person in people],
                [person.days for person in people],
                [person.wear_seconds / 60 for person in people],
                [person.hours_covered for person in people],
                [None if person.day_mean is None else _vector(person.day_mean) for person in people],
                [_vector(person.wear_mean) for person in people],
            ],
            schema=person_writer.schema,
        )
    )


def _people(recordings: Recordings) -> Iterator[tuple[list[PersonDay], PersonSummary | None]]:
    for participant in sorted(recordings):
        yield person_tables(participant, (RecordingSummary.load(path) for path in recordings[participant]))


def _vector(mean: NDArray[np.float64]) -> NDArray[np.float32]:
    return mean.astype(np.float32)


def _text(value: float) -> str:
    return f"{value:.2f}"
