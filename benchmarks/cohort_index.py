"""Claim: the metadata of 100,000 recordings is listed in ten seconds, from the index instead of 100,000 files.

The store holds real folders with real metadata but no signal: one week per recording, all hours worn.

    python -m benchmarks.cohort_index --recordings 100000
"""

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from data_shards.cohort import index as cohort_index
from data_shards.cohort.info import Quality, RecordingInfo, SourceFile
from data_shards.cohort.store import Cohort
from data_shards.ingest.calibration import not_calibrated
from data_shards.ingest.preparation import PREPROCESSING

WEEK = RecordingInfo(
    recording="",
    participant="",
    first_hour=472_222,
    hours=169,
    device="Axivity AX3",
    clock="local",
    wall_shifts=(),
    nominal_rate=100.0,
    worn_seconds_by_hour=(3600,) * 169,
    complete_seconds=169 * 3600,
    calibration=not_calibrated("a benchmark"),
    quality=Quality(
        clipped_share=0.0,
        interruptions=0,
        interrupted_seconds=0.0,
        worn_seconds_by_clock_hour=[25_200] * 24,
        mean_enmo_mg=28.123456,
    ),
    notes=(),
    metadata={"device_id": 12345, "session_id": 1, "sample_rate_hz": 100.0, "accel_range": 8},
    source=SourceFile(name="x.cwa", bytes=258_049_024, mtime_ns=10**18, xxh3="0" * 16, kind="Axivity", settings={}),
    preprocessing=PREPROCESSING,
    package_version="0",
)


def fill(cohort: Cohort, recordings: int) -> None:
    """Folders with `zarr.json`, and index rows as a thousand writers leave them: added by the hundred, merged."""
    for start in range(0, recordings, 100):
        rows = []
        for number in range(start, min(start + 100, recordings)):
            info = replace(WEEK, recording=f"r{number:07d}", participant=f"p{number:07d}")
            folder = cohort.root / info.recording
            folder.mkdir()
            (folder / "zarr.json").write_text(json.dumps({"attributes": asdict(info)}))
            rows.append(cohort_index.row_of(info, folder))
        cohort_index.add(cohort.root, rows)


def main() -> None:
    """Measure and save the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=100_000)
    arguments = parser.parse_args()
    from benchmarks.report import machine, publish

    with tempfile.TemporaryDirectory() as folder:
        cohort = Cohort.create(Path(folder) / "cohort.zarr")
        fill(cohort, arguments.recordings)
        rows = {}
        for label, work in (
            ("from the index", cohort.infos),
            ("from every zarr.json", lambda: map(cohort.info, cohort.recordings())),
        ):
            start = time.perf_counter()
            assert sum(1 for _ in work()) == arguments.recordings
            rows[label] = time.perf_counter() - start
    publish("cohort-index", f"seconds for {arguments.recordings:,} recordings", rows, machine("zarr"))


if __name__ == "__main__":
    main()
