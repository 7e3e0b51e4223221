"""The device files in `shared/cases`: each reads like its control, apart from what its note states."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_shards.readers import load
from harnet.errors import HarnetError

SAME = {
    "geneactiv_decimal_comma.bin": {},
    "geneactiv_notes_3_lines.bin": {},
    "geneactiv_notes_8_lines.bin": {},
    "actigraph_every_second_twice.gt3x": {"repeated blocks": 120},
    "actigraph_one_second_100_days_ahead.gt3x": {"isolated stamps": 1},
    "actigraph_decimal_comma.gt3x": {},
    "actigraph_rezipped_in_folder.gt3x": {},
    "actigraph_zip_of_gt3x.zip": {},
    "axivity_session_3_then_7.cwa.gz": {"other sessions": 300},
    "axivity_older_session_after.cwa.gz": {"other sessions": 300},
    "axivity_one_block_40_days_ahead.cwa.gz": {"isolated stamps": 1},
    "axivity_copied_twice_onto_itself.cwa.gz": {"repeated blocks": 500},
}
CONTROLS = {"geneactiv": "geneactiv_ok.bin", "actigraph": "actigraph_ok.gt3x", "axivity": "axivity_ok.cwa.gz"}


@pytest.mark.parametrize("name", SAME)
def test_as_the_control(name: str, shared: Callable[[str], Path]) -> None:
    control = next(load(shared(f"cases/devices/{CONTROLS[name.partition('_')[0]]}"))).recording
    (found,) = load(shared(f"cases/devices/{name}"))
    recording = found.recording
    assert {note.kind: note.count for note in recording.notes} == SAME[name]
    assert control.notes == ()
    there = np.isin(control.times.round(3), recording.times.round(3))
    assert (~there).sum() == (80 if name.startswith("axivity_one_block") else 0)
    np.testing.assert_array_equal(recording.acceleration, control.acceleration[there])
    assert (recording.nominal_rate, recording.clock, recording.range_g) == (
        *(control.nominal_rate, control.clock, control.range_g),
    )
    if control.temperature is not None:
        assert recording.temperature is not None
        np.testing.assert_array_equal(recording.temperature.celsius, control.temperature.celsius)


def test_an_old_firmwares_rate_code_is_named(shared: Callable[[str], Path]) -> None:
    with pytest.raises(HarnetError, match="500 carry rate code 0, as an early firmware wrote it") as caught:
        list(load(shared("cases/devices/axivity_rate_code_0.cwa.gz")))
    assert "copy" not in str(caught.value)


def test_none_is_forgotten(shared: Callable[[str], Path]) -> None:
    names = {path.name for path in shared("cases/devices").iterdir()}
    assert names == SAME.keys() | set(CONTROLS.values()) | {"axivity_rate_code_0.cwa.gz"}
