"""`harnet calibration`: calibrations of devices in a cohort store -> a file for short recordings of theirs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from data_shards.cohort.store import Cohort
from data_shards.ingest.known_devices import collect, write
from harnet.errors import HarnetError


@dataclass(frozen=True)
class Command:
    """Write the calibrations of all devices that could be calibrated in a cohort store into a JSON file.

    Give the file to `harnet ingest --calibration` for recordings of the same devices, by their serial number, that are
    too short to be calibrated by themselves: an hour in a laboratory. Of several recordings of a device, the one with
    the smallest error counts. The file names devices and no participants.

    Example: harnet calibration cohort.zarr --out calibration.json
    """

    cohort: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="COHORT")]
    """Cohort store that `harnet ingest` made."""
    out: Path
    """The file, such as calibration.json; one that is there is replaced."""

    def run(self) -> int:
        """Write the file."""
        devices = collect(Cohort.open(self.cohort).infos())
        if not devices:
            raise HarnetError(
                f"{self.cohort}: no recording that was calibrated and whose device has a number: record a day or more "
                "with each device, in changing positions, and ingest that first"
            )
        write(self.out, devices)
        print(f"{self.out}: {len(devices)} devices")
        return 0
