"""One policy for oddities: counted, limited, and stated alike in code and documents."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from data_shards.cohort.info import RecordingInfo
from data_shards.cohort.store import Cohort
from data_shards.notes import Note
from data_shards.readers.oddities import ODDITIES, REPAIR_SHARE, Tally
from harnet.errors import HarnetError
from launch.cli import main

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_says_what_the_code_does() -> None:
    page = (DOCS / "oddities.md").read_text()
    rows = re.findall(r"^\| ([a-z ]+) \| (.+) \| (.+) \| (1 %|none) \|$", page, re.MULTILINE)
    wanted = [
        (kind, oddity.meets, oddity.does, f"{100 * REPAIR_SHARE:g} %" if oddity.advice else "none")
        for kind, oddity in ODDITIES.items()
    ]
    assert rows == wanted


def test_up_to_one_in_a_hundred_is_mended() -> None:
    tally = Tally("file.csv")
    tally.add("missing values", 30, "first in row 17")
    tally.add("missing values", 0, "nothing is no note")
    tally.judge(3000)
    assert tally.notes() == (Note("missing values", 30, "first in row 17"),)
    assert str(tally.notes()[0]) == "missing values: 30 (first in row 17)"
    tally.add("missing values", 1, "later")
    with pytest.raises(HarnetError, match=r"^file\.csv: missing values: 31 of 3,000, first in row 17; up to 1 %"):
        tally.judge(3000)


def test_one_sample_is_always_mended_and_gaps_have_no_limit() -> None:
    tally = Tally("file.csv")
    tally.add("absurd values", 1)
    tally.add("damaged blocks", 5_000)
    tally.judge(20)
    assert [str(note) for note in tally.notes()] == ["absurd values: 1", "damaged blocks: 5,000"]


def test_notes_of_an_earlier_store_still_open(cohort: Cohort, tmp_path: Path) -> None:
    info = cohort.info(cohort.recordings()[0])
    values = {**info.__dict__, "notes": ["6 of 145 data blocks damaged: dropped"]}
    old = RecordingInfo.from_json(json.loads(json.dumps(values)))
    assert old.notes == (Note("note", 1, "6 of 145 data blocks damaged: dropped"),)
    assert RecordingInfo.from_json({**values, "notes": [{"kind": "cut end", "count": 2, "detail": ""}]}).notes == (
        Note("cut end", 2),
    )


def test_who_was_mended_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = np.column_stack([1.7e9 + np.arange(1000) / 50, np.tile([0.0, 0, 1], (1000, 1))])
    (folder := tmp_path / "e4").mkdir()
    text = "\n".join(["1700000000.0, 1700000000.0, 1700000000.0", "32.0, 32.0, 32.0", *["0,0,64"] * 640, "0,6"])
    (folder / "ACC.csv").write_text(text)
    np.savetxt(tmp_path / "sound.csv", rows, fmt="%.4f", delimiter=",", header="time,x,y,z", comments="")
    out = tmp_path / "c.zarr"
    command = ["ingest", str(folder), str(tmp_path / "sound.csv"), "--out", str(out), "--quality", "none"]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    source = str(folder / "ACC.csv")
    assert report["notes"] == [{"source": source, "kind": "cut end", "count": 1, "detail": "line 643"}]
    assert report["flow"]["notes"] == {"cut end": 1}
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert f"note: {source}: cut end: 1 (line 643)\n" in printed
    assert "        1  in the store with a note: cut end" in printed
    assert main(["quality", str(out), "--out", str(tmp_path / "quality"), "--quality", "none"]) == 0
    assert "cut end: 1 (line 643)" in (tmp_path / "quality" / "recordings.csv").read_text()
    assert "<td>cut end</td>" in (tmp_path / "quality" / "index.html").read_text()
