"""The table of odd files in docs/ingest.md is what `harnet ingest --json` says of them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from data_shards.cohort.store import Cohort
from launch.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "ingest.md"


def _rows_of_the_page() -> dict[str, tuple[str, str]]:
    section = PAGE.read_text().partition("## Examples of odd files")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if "| `" in line]
    return {row[0].strip("` "): (row[1].partition(";")[0], row[2] if len(row) > 2 else "") for row in cells}


def test_the_page_states_outcome_and_note_of_each_file(
    shared: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases, out = shared("cases"), tmp_path / "cohort.zarr"
    main(["ingest", str(cases), "--quality", "none", "--json", "--out", str(out)])
    printed = json.loads(capsys.readouterr().out)
    notes = {
        str(Path(note["source"]).relative_to(cases)): f"{note['kind']}: {note['count']:,}" for note in printed["notes"]
    }
    paths = {path.parent.name if path.name == "ACC.csv" else path.name: path for path in cases.glob("*/**/*.*")}
    found = {}
    for info in Cohort.open(out).infos():
        key = info.recording if info.source["name"] == "ACC.csv" else info.source["name"]
        name = str(paths[key].relative_to(cases))
        found[name] = (f"{info.complete_seconds} s at {info.nominal_rate:g} Hz", notes.get(name, ""))
    for refused in printed["refused"]:
        reason = refused["reason"].removeprefix(f"{refused['source']}: ").replace(str(cases), "odd")
        found[str(Path(refused["source"]).relative_to(cases))] = ("refused", reason)
    page = {name: (outcome, note.replace("`", "")) for name, (outcome, note) in _rows_of_the_page().items()}
    assert page == found
