"""Lists of participants who withdrew, as they come out of editors and spreadsheets."""

from pathlib import Path

import pytest

from data_shards.withdrawals import read_ids
from harnet.errors import HarnetError


@pytest.mark.parametrize(
    "content",
    ["P1\nA 2\n", "P1\r\nA 2\r\n", "P1\rA 2", "\ufeffP1\nA 2", "  P1\t\n\n \nA 2\u00a0\n", '# of May, "2024"\nP1\nA_2'],
)
def test_one_id_per_line(content: str, tmp_path: Path) -> None:
    (ids := tmp_path / "ids.txt").write_bytes(content.encode())
    assert read_ids(ids) == {"P1", "A_2"}


@pytest.mark.parametrize("line", ['"P2"', "'P2'", "P2,2024-01-01", "P2;P3", "P2\t2024", "\u200bP2", "P2\0"])
def test_a_line_that_would_match_nobody(line: str, tmp_path: Path) -> None:
    (ids := tmp_path / "ids.txt").write_text(f"P1\n{line}\n")
    with pytest.raises(
        HarnetError, match=r"ids\.txt: line 2 has a quotation mark, a separator or an invisible"
    ) as told:
        read_ids(ids)
    assert "P2" not in str(told.value)
