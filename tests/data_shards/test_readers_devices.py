"""Every available real device file: the result agrees with its README, damage included."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import load

WHOLE: tuple[Note, ...] = ()

EXPECTED = {
    # name: samples, device, rate, clock, full scale, thermometer readings, longest gap in s, notes
    "ax3_testfile.cwa": (17_400, "Axivity AX3", 100, "local", 8, 145, 0.02, WHOLE),
    "ax3_testfile_corrupt_blocks_0_13_14_142_143_144.cwa": (
        *(16_680, "Axivity AX3", 100, "local", 8, 139, 2.5),
        (Note("damaged blocks", 6, "of 145"),),
    ),
    "ax6_testfile.cwa": (11_320, "Axivity AX6", 100, "local", 16, 283, 0.02, WHOLE),
    "ax6_paradigma.cwa": (36_400, "Axivity AX6", 100, "local", 8, 910, 0.02, WHOLE),
    "example-610-steps.cwa": (71_400, "Axivity AX3", 100, "local", 8, 595, 0.02, WHOLE),
    "example_geneactiv.bin": (27_300, "GENEActiv 1.2", 60, "local", 8, 91, 0.02, WHOLE),
    "GENEActiv_testfile.bin": (
        *(4_800, "GENEActiv 1.1", 85.7, "local", 8, 16, 0.02),
        (Note("cut end", 1, "within a page"),),
    ),
    "neo.gt3x": (18_004, "ActiGraph GT3XPlus", 30, "local", 6, 0, 0.04, WHOLE),
    # The device slept through all but 73 of 180 and 330 of 2,160 seconds; no data are invented for the rest.
    "ISM_Enabled.gt3x": (2_190, "ActiGraph Link", 30, "local", 8, 0, 68.04, WHOLE),
    "TAS1H30182785_2019-09-17.gt3x": (33_000, "ActiGraph Link", 100, "local", 8, 0, 1126.01, WHOLE),
    "mtx_25Hz_acc_HR.BIN": (25_119, "Parmay Matrix", 25.6, "utc", 8, 0, 0.04, WHOLE),
    "mtx_corrupted.bin": (
        *(34_168, "Parmay Matrix", 102.3, "utc", 8, 5, 0.02),
        (Note("damaged blocks", 1, "packets, of 4"),),
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_device(name: str, shared: Callable[[str], Path]) -> None:
    samples, device, rate, clock, range_g, readings, gap, notes = EXPECTED[name]
    (found,) = load(shared(f"data/devices/{name}"))
    recording = found.recording
    assert recording.acceleration.shape == (samples, 3)
    assert (recording.device, recording.nominal_rate, recording.clock) == (device, rate, clock)
    assert (recording.range_g, recording.notes) == (range_g, notes)
    assert (0 if recording.temperature is None else len(recording.temperature.times)) == readings
    steps = np.diff(recording.times)
    assert steps.min() > 0
    assert steps.max() <= gap
    # All were worn or lay still, so the mean norm is about 1 g.
    assert 0.9 < np.median(np.linalg.norm(recording.acceleration, axis=1)) < 1.15
    if recording.temperature is not None:
        assert 15 < recording.temperature.celsius.min() < recording.temperature.celsius.max() < 45


def test_none_is_forgotten(shared: Callable[[str], Path]) -> None:
    assert {path.name for path in shared("data/devices").iterdir()} == EXPECTED.keys()
