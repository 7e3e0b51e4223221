"""Calibrations of devices from long recordings, for short recordings of the same devices.

A JSON file: device (maker, model and serial number) -> coefficients. It names no participant.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xxhash

from data_shards.cohort.info import Calibration, RecordingInfo
from data_shards.ingest.calibration import MAX_ERROR_MG
from harnet.errors import HarnetError
from harnet.files import write_atomically

FORMAT = 1
_COEFFICIENTS = ("gain", "offset", "slope")
_PLAUSIBLE_GAIN = (0.5, 2.0)
_PLAUSIBLE_OFFSET_G = 0.5
_PLAUSIBLE_SLOPE = 0.05


@dataclass(frozen=True)
class KnownDevices:
    """Content of such a file."""

    path: str
    """Path of the file, for messages."""
    digest: str
    """xxh3 of the file, stored with the recordings ingested with it."""
    devices: dict[str, Calibration]
    """Device -> its calibration."""

    def of(self, device: str, metadata: dict[str, Any]) -> Calibration | None:
        """The calibration of a recording's device; None if it is not listed or has no serial number."""
        name = device_name(device, metadata)
        return None if name is None else self.devices.get(name)


def device_name(device: str, metadata: dict[str, Any]) -> str | None:
    """Manufacturer, model and serial number of a recording's device; None if the file states no serial number."""
    number = str(metadata.get("device_id", "")).strip()
    return f"{device} {number}" if number else None


def collect(infos: Iterable[RecordingInfo]) -> dict[str, Calibration]:
    """For each device with a serial number, its calibration with the smallest error; sorted by name."""
    best: dict[str, Calibration] = {}
    for info in infos:
        name = device_name(info.device, info.metadata)
        found = info.calibration
        if name is None or not found["calibrated"] or any(note.kind == TAKEN for note in info.notes):
            continue
        if name not in best or found["error_after_mg"] < best[name]["error_after_mg"]:
            best[name] = found
    return dict(sorted(best.items()))


TAKEN = "calibration taken"
"""Kind of the note on a recording that uses the calibration of another recording."""
NOT_TAKEN = "calibration not taken"
"""Kind of the note on a recording that the calibration of its device would move away from gravity."""
NOT_LISTED = "no calibration given"
"""Kind of the note on a recording without a calibration of its own, whose device is not in the file."""


def write(path: Path, devices: dict[str, Calibration]) -> None:
    """Write the file."""
    write_atomically(path, json.dumps({"harnet_calibration": FORMAT, "devices": devices}, indent=1) + "\n")


def read(path: Path) -> KnownDevices:
    """Read the file; `HarnetError` if it is not such a file, or contains implausible values."""
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except OSError as error:
        raise HarnetError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise HarnetError(f"{path}: not JSON ({error}): pass a file that `harnet calibration` wrote") from error
    version = document.get("harnet_calibration") if isinstance(document, dict) else None
    if version != FORMAT:
        raise HarnetError(f"{path}: not of format {FORMAT}: pass a file that `harnet calibration` wrote")
    try:
        devices = {str(name): _validated(values) for name, values in document["devices"].items()}
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise HarnetError(f"{path}: damaged ({error}): write it again with `harnet calibration`") from error
    return KnownDevices(str(path), xxhash.xxh3_64_hexdigest(content), devices)


def _validated(values: dict[str, Any]) -> Calibration:
    found = {key: [float(each) for each in values[key]] for key in _COEFFICIENTS}
    others = {key: float(values[key]) for key in ("mean_celsius", "error_before_mg", "error_after_mg")}
    numbers = [*found["gain"], *found["offset"], *found["slope"], *others.values()]
    if any(len(each) != 3 for each in found.values()) or not all(map(math.isfinite, numbers)):
        raise ValueError("finite numbers are needed, three each for gain, offset and slope")
    low, high = _PLAUSIBLE_GAIN
    if not all(low < gain < high for gain in found["gain"]) or max(map(abs, found["offset"])) > _PLAUSIBLE_OFFSET_G:
        raise ValueError(f"gains are between {low:g} and {high:g}, offsets within {_PLAUSIBLE_OFFSET_G:g} g")
    if max(map(abs, found["slope"])) > _PLAUSIBLE_SLOPE:
        raise ValueError(f"slopes are within {_PLAUSIBLE_SLOPE:g} g/°C")
    error = others["error_after_mg"]
    if not 0 <= error < MAX_ERROR_MG:
        raise ValueError(f"an error of {error:g} mg; below {MAX_ERROR_MG:g} is needed")
    return Calibration(
        calibrated=True,
        reason="",
        gain=found["gain"],
        offset=found["offset"],
        slope=found["slope"],
        mean_celsius=others["mean_celsius"],
        error_before_mg=others["error_before_mg"],
        error_after_mg=error,
        still_windows=int(values["still_windows"]),
    )
