"""Synthetic people -> cohort store, and their activities -> a table of labels."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_shards.cohort.info import SYNTHETIC
from data_shards.cohort.store import Cohort
from data_shards.layout import SECONDS_PER_HOUR
from data_shards.parallel import run_all
from data_shards.synthetic.diary import Activity, bouts
from data_shards.synthetic.people import person
from data_shards.synthetic.record import MADE, NOTE, activities, first_hour, record, settings, source
from data_shards.synthetic.synth_options import SynthOptions
from harnet.errors import HarnetError
from harnet.files import atomic_path


def synthesise(out: Path, people: int, options: SynthOptions, workers: int = 1) -> Cohort:
    """Add the synthetic people 0 to `people` - 1 to the store at `out`, which is created if missing.

    Existing people are skipped. Returns the store.

    Raises:
        HarnetError: `people` is below 1, or the store holds other recordings or was made with other options.
    """
    if people < 1:
        raise HarnetError(f"--people {people}: must be at least 1")
    cohort = Cohort.create(out)
    numbers = _missing(cohort, people, options)
    run_all(partial(_add, cohort=cohort, options=options), numbers, workers, "synth", "person", total=people)
    return cohort


def write_labels(path: Path, people: int, options: SynthOptions) -> None:
    """Write everyone's activities as a Parquet table with one row per bout.

    Columns: recording, start (seconds since 1970 on the recording's clock), seconds, activity (name). Diaries are
    drawn again, which takes milliseconds per person, so an existing store gets the same labels.
    """
    schema = pa.schema(
        [("recording", pa.string()), ("start", pa.int64()), ("seconds", pa.int32()), ("activity", pa.string())],
        metadata={"made": NOTE, **settings(options)},
    )
    names = np.array([each.name.lower() for each in Activity])
    with atomic_path(path) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for number in range(people):
            someone = person(options.seed, number)
            starts, seconds, doing = bouts(activities(someone, options, number))
            starts = starts + first_hour(someone, options) * SECONDS_PER_HOUR
            writer.write_table(pa.table([[someone.name] * len(starts), starts, seconds, names[doing]], schema=schema))


def _add(number: int, cohort: Cohort, options: SynthOptions) -> None:
    info, data = record(person(options.seed, number), options, number)
    cohort.write(info, data.accel, data.motion, data.wear)


def _missing(cohort: Cohort, people: int, options: SynthOptions) -> Sequence[int]:
    """Numbers of the people who are not in the store yet; those in the store must belong to the same cohort."""
    there = set()
    for info in cohort.infos():
        if info.device != SYNTHETIC:
            raise HarnetError(f"{cohort.root}: holds recordings that are not synthetic: give another --out")
        number = int(info.metadata["synthetic_person"])
        if info.source != source(options, number):
            known = " ".join(f"--{name} {value}" for name, value in info.source["settings"].items())
            raise HarnetError(f"{cohort.root}: was made with {known}: use the same, or give another --out")
        if info.preprocessing != MADE:
            raise HarnetError(f"{cohort.root}: was made by another version of harnet: give another --out")
        there.add(number)
    return [number for number in range(people) if number not in there]
