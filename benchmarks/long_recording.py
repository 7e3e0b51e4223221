"""Claim: a year at 100 Hz (3 billion samples) becomes a stored recording in 2 GB of memory.

No device file of that length is available, so the samples are generated, chunk by chunk as from a reader, with a
temperature every 1.2 s as in an Axivity AX3. Everything else is `harnet ingest`, unchanged.

    python -m benchmarks.long_recording --days 7
    python -m benchmarks.long_recording --days 365
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data_shards import readers
from data_shards.cohort.store import Cohort
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.run import ingest
from data_shards.readers.oddities import Tally
from data_shards.readers.samples import Thermometer
from data_shards.recording import Recording, SampleChunk

RATE = 100
START = 1_700_000_000.0
SECONDS_AT_A_TIME = 2400
HEAD = b"harnet benchmark, days: "


class Formula(readers.DeviceReader):
    """Reads a file that says how many days to generate."""

    kind = "formula"

    def recognises(self, head: bytes, options: readers.ReadOptions) -> bool:
        """Recognised by its first words."""
        return head.startswith(HEAD)

    def read(self, path: Path, options: readers.ReadOptions) -> Iterator[readers.Found]:
        """The one recording."""
        thermometer = Thermometer(Tally("long recording"))
        recording = Recording(
            pieces=pieces(float(path.read_bytes().removeprefix(HEAD)), thermometer),
            nominal_rate=RATE,
            device="formula",
            clock="local",
            range_g=8.0,
            temperature=thermometer.temperature,
        )
        yield readers.Found(recording, path.stem)


def pieces(days: float, thermometer: Thermometer) -> Iterator[SampleChunk]:
    """A new posture every five minutes, and movement in every third."""
    random = np.random.default_rng(0)
    step = np.arange(SECONDS_AT_A_TIME * RATE) / RATE
    noise = random.normal(0, 0.004, (len(step), 3)).astype(np.float32)
    noise[: len(step) // 3] += 0.3 * np.sin(2 * np.pi * 1.7 * step[: len(step) // 3])[:, None].astype(np.float32)
    for begin in np.arange(0, days * 86400, SECONDS_AT_A_TIME):
        postures = random.normal(size=(SECONDS_AT_A_TIME // 300, 3))
        postures /= 0.97 * np.linalg.norm(postures, axis=1, keepdims=True)
        times = START + begin + step
        thermometer.add(times[::120], (30 + 3 * np.sin(times[::120] / 86400 * 2 * np.pi)).astype(np.float32))
        yield SampleChunk(times, np.repeat(postures, 300 * RATE, axis=0).astype(np.float32) + noise)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=365.0)
    days = parser.parse_args().days
    readers.READERS = (Formula(),)
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.txt"
        path.write_bytes(HEAD + b"%g" % days)
        outcomes, _ = ingest([path], Path(folder) / "cohort.zarr", IngestOptions())
        assert [outcome.status for outcome in outcomes] == ["ingested"], outcomes
        info = Cohort.open(Path(folder) / "cohort.zarr").info("long")
        stored = sum(each.stat().st_size for each in Path(folder).rglob("*") if each.is_file())
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"days": days, "hours": info.hours, "cpu_seconds": round(seconds), "peak_gb": round(peak, 2),
                      "stored_gb": round(stored / 1e9, 2), "calibrated": info.calibration["calibrated"]}))  # fmt: skip


if __name__ == "__main__":
    main()
