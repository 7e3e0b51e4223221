"""Flipped, removed and inserted bytes in small files: the rest is read, or the file is refused in one line."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, try_to_read

READERS = tuple(TARGETS)

EDITS = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from([0, 0, 1, 1, 2, 7, 64, 512, 1 << 20]),
        st.one_of(st.just(b""), st.binary(min_size=1, max_size=8), st.sampled_from([bytes(64), b"\xff" * 4, b"9" * 9])),
    ),
    min_size=1,
    max_size=3,
)
"""Position as a share of the file; number of bytes removed; bytes inserted instead."""


def edited(content: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, gone, new in edits:
        at = int(where * len(content))
        content = content[:at] + new + content[at + gone :]
    return content


@pytest.mark.parametrize("reader", READERS)
def test_damage(reader: str, tmp_path: Path) -> None:
    target = TARGETS[reader]
    seeds = target.seeds()

    @settings(max_examples=100, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(seed=st.sampled_from(seeds), edits=EDITS, sealed=st.booleans())
    def check(seed: bytes, edits: list[tuple[float, int, bytes]], sealed: bool) -> None:
        content = edited(seed, edits)
        try_to_read(target, target.seal(content) if sealed else content, tmp_path)

    check()
