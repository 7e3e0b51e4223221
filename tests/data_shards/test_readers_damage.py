"""Arbitrary damage to the bytes of a real file: the rest is read or the file is refused in one line, never a crash."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_shards.readers import load
from data_shards.recording import Loaded
from harnet.errors import HarnetError

NAMES = (
    "ax3_testfile.cwa",
    "ax6_testfile.cwa",
    "GENEActiv_testfile.bin",
    "ISM_Enabled.gt3x",
    "neo.gt3x",
    "mtx_25Hz_acc_HR.BIN",
)


def damaged(content: bytes, where: float, removed: int, added: bytes) -> bytes:
    # The square puts half of the damage into the first quarter: readers fail most often on headers.
    at = int(where * where * len(content))
    return content[:at] + added + content[at + removed :]


def outcome(path: Path) -> tuple[list[Loaded], str]:
    """The recordings read, or the reason for the refusal."""
    try:
        return [found.recording for found in load(path)], ""
    except HarnetError as error:
        return [], str(error)


@pytest.mark.parametrize("name", NAMES)
def test_damage(name: str, shared: Callable[[str], Path]) -> None:
    content = shared(f"data/devices/{name}").read_bytes()

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        where=st.floats(0, 1),
        removed=st.sampled_from([0, 1, 2, 7, 64, 512, 4000, 1 << 30]),
        added=st.one_of(st.binary(max_size=8), st.sampled_from([b"\0" * 512, b"\xff" * 64, b"00000000"])),
    )
    def check(where: float, removed: int, added: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(damaged(content, where, removed, added))
            recordings, refusal = outcome(path)
            assert not refusal or (refusal.startswith(str(path)) and "\n" not in refusal)
        for recording in recordings:
            assert (np.diff(recording.times) > 0).all()
            assert np.isfinite(recording.acceleration).all()
            assert recording.range_g is not None
            assert np.abs(recording.acceleration).max() <= 1.5 * recording.range_g

    check()
