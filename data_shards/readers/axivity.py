"""Axivity AX3 and AX6 (.cwa): `axivity_blocks` selects the blocks, and the library `cwa-reader-rs` decodes them."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cwa_reader_rs
import numpy as np
from numpy.typing import NDArray

from data_shards.readers import axivity_blocks
from data_shards.readers.absurd import without_absurd
from data_shards.readers.axivity_blocks import BLOCK_START, HEADER_BYTES, HEADER_START, Blocks
from data_shards.readers.axivity_times import nodes
from data_shards.readers.device_reader import DeviceReader, Found, ReadOptions, pieces_of, speaking_of
from data_shards.readers.oddities import Tally
from data_shards.readers.samples import Thermometer, forward
from data_shards.recording import Recording, SampleChunk
from harnet.errors import HarnetError

PUBLIC_METADATA = ("device_id", "session_id", "gyro_range", "firmware_revision")
"""Header fields that are kept. The free-text annotation may contain a name, so it is never copied."""
NO_DEVICE_IDS = (0, 0xFFFF)
"""Ids of a device that was never given one: unknown (cwa.h), and erased memory."""


class Axivity(DeviceReader):
    """Reader of .cwa. Damaged data blocks are dropped and become gaps in time."""

    kind = "Axivity .cwa (AX3, AX6)"

    def recognises(self, head: bytes, options: ReadOptions) -> bool:
        """By the header's tag, or by the first data block if the header is damaged."""
        return head.startswith(HEADER_START) or head[HEADER_BYTES : HEADER_BYTES + 4] == BLOCK_START

    def read(self, path: Path, options: ReadOptions) -> Iterator[Found]:
        """Yield the only recording. Raises `HarnetError` if the header is damaged or no block is usable."""
        tally = Tally(path)
        blocks = axivity_blocks.choose_blocks(path, tally)
        if blocks.alone:
            yield Found(_decode(path, blocks, tally), label=path.stem)
            return
        with tempfile.TemporaryDirectory(prefix="harnet-") as folder:
            cleaned = Path(folder) / "chosen.cwa"
            axivity_blocks.copy_blocks(path, cleaned, blocks.chosen)
            with speaking_of(path, cleaned):
                recording = _decode(cleaned, blocks, tally)
            yield Found(replace(recording, pieces=pieces_of(path, cleaned, recording.pieces)), label=path.stem)


def celsius(thermometer: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Degrees Celsius from the MCP9700's 10-bit reading: 3/1024 V per unit, 0.5 V at 0 °C, 10 mV/°C (cwa.h)."""
    return (thermometer * np.float32(75 / 256) - 50).astype(np.float32)


def _decode(path: Path, blocks: Blocks, tally: Tally) -> Recording:
    """The recording in a file whose blocks are all intact; `blocks` describes them."""
    try:
        header = cwa_reader_rs.read_metadata(str(path))
    except (RuntimeError, ValueError, OverflowError) as error:
        raise _undecodable(path, error) from error
    thermometer = Thermometer(tally)
    return Recording(
        pieces=forward(_pieces(path, blocks, thermometer, tally), tally, blocks.rate),
        nominal_rate=blocks.rate,
        device=f"Axivity {header['hardware_type']}",
        clock="local",
        range_g=blocks.range_g,
        temperature=thermometer.temperature,
        notes=tally.notes,
        metadata=_metadata(header),
    )


def _metadata(header: dict[str, Any]) -> dict[str, Any]:
    kept = {key: header[key] for key in PUBLIC_METADATA if header.get(key) is not None}
    if kept.get("device_id") in NO_DEVICE_IDS:
        del kept["device_id"]
    return kept


def _pieces(path: Path, blocks: Blocks, thermometer: Thermometer, tally: Tally) -> Iterator[SampleChunk]:
    first = np.cumsum(blocks.counts) - blocks.counts
    clock = nodes(blocks.anchor_times, blocks.anchor_samples, blocks.counts, blocks.rate)
    for start in range(0, len(blocks.counts), axivity_blocks.BLOCKS_AT_A_TIME):
        some = slice(start, start + axivity_blocks.BLOCKS_AT_A_TIME)
        counts = blocks.counts[some]
        if not counts.any():
            continue
        try:
            acceleration = _piece(path, start, start + len(counts))
        except (RuntimeError, ValueError, OverflowError) as error:
            raise _undecodable(path, error) from error
        if len(acceleration) != counts.sum():
            raise HarnetError(f"{path}: {len(acceleration)} samples where {counts.sum()} are announced: copy it again")
        heated = (counts > 0) & (blocks.thermometer[some] > 0)
        thermometer.add(np.interp(first[some][heated], *clock), celsius(blocks.thermometer[some][heated]))
        times = np.interp(first[start] + np.arange(len(acceleration)), *clock)
        yield SampleChunk(*without_absurd(times, acceleration, blocks.range_g, tally))


def _undecodable(path: Path, error: Exception) -> HarnetError:
    return HarnetError(f"{path}: cannot be decoded ({error}): copy the file again, or exclude it")


def _piece(path: Path, start: int, stop: int) -> NDArray[np.float32]:
    """Acceleration (n, 3) in g in the blocks start..stop."""
    frame = cwa_reader_rs.read_cwa_file(
        str(path),
        cut=cwa_reader_rs.blocks(start, stop),
        include_magnetometer=False,
        include_temperature=False,
        include_light=False,
        include_battery=False,
    )
    acceleration = np.empty((len(frame), 3), np.float32)
    for axis, column in enumerate(("acc_x", "acc_y", "acc_z")):
        acceleration[:, axis] = frame[column]
    return acceleration
