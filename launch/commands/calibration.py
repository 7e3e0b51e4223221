"""`harnet calibration`: device calibrations from a cohort store -> a file for calibrating short recordings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data_shards.cohort.store import Cohort
from data_shards.ingest.known_devices import collect, write
from harnet.errors import HarnetError


@dataclass(frozen=True)
class Command:
    """Write the calibrations of all calibrated devices in a cohort store to a JSON file.

    Pass the file to `harnet ingest --calibration` for recordings of the same devices (by serial number) that are too
    short to be calibrated themselves, such as an hour in a laboratory. If a device has several recordings, the one with
    the smallest calibration error is used. The file lists devices but no participants.

    Example: harnet calibration cohort.zarr --out calibration.json
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store written by `harnet ingest`."""
    out: Path
    """Output file, such as calibration.json; an existing file is replaced."""

    def run(self) -> int:
        """Write the file; returns the exit code."""
        devices = collect(Cohort.open(self.cohort).infos())
        if not devices:
            raise HarnetError(
                f"{self.cohort}: no calibrated recording whose device has a serial number: record a day or more with "
                "each device, in changing positions, and ingest that first"
            )
        write(self.out, devices)
        print(f"{self.out}: {len(devices)} devices")
        return 0
