"""Names of recordings and people, and which files are found."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from data_shards.cohort.store import Cohort
from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.ingest_plan import plan_ingest
from data_shards.ingest.run import ingest
from data_shards.ingest.walk import files_below
from data_shards.layout import LONGEST_NAME
from data_shards.quality.policy import POLICIES
from data_shards.shards import writer
from data_shards.shards.shard_plan import ShardOptions
from harnet.errors import HarnetError
from harnet.parts import Part
from launch.cli import main

PEOPLE = IngestOptions(participant_pattern=r"id=([^/]+)/")


def table(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    signal = np.random.default_rng(seed).normal(0, 0.05, (1000, 3)) + np.array([0, 0, 1])
    rows = np.column_stack([1.7e9 + np.arange(1000) / 50, signal])
    np.savetxt(path, rows, fmt="%.4f", delimiter=",", header="time,x,y,z", comments="")
    return path


def test_the_longest_name_goes_into_a_shard_and_one_more_is_refused(tmp_path: Path) -> None:
    fits, long = (table(tmp_path / f"{'n' * length}.csv") for length in (LONGEST_NAME, LONGEST_NAME + 1))
    outcomes, _ = ingest([fits, long], tmp_path / "c.zarr", IngestOptions())
    assert [outcome.status for outcome in outcomes] == ["refused", "ingested"]
    assert f"{long}: the name of its recording would have 156 characters, a shard allows 155" in outcomes[0].reason
    writer.write_shards(Cohort.open(tmp_path / "c.zarr"), tmp_path / "s", ShardOptions(quality=POLICIES["none"]))
    # Also for long person ids in a folder: names are not truncated, so they cannot collide.
    folder = tmp_path / "in" / f"id={'p' * 100}"
    files = [table(folder / f"{'f' * 60}{number}.csv") for number in range(2)]
    outcomes, _ = ingest([tmp_path / "in"], tmp_path / "d.zarr", PEOPLE)
    assert [outcome.source for outcome in outcomes if outcome.status == "refused"] == list(map(str, files))


def test_people_whose_ids_become_one_name_are_refused_in_one_run(tmp_path: Path) -> None:
    found = [table(tmp_path / f"id={name}" / f"{number}.csv") for number, name in enumerate(("A 1", "A_1", "B", "A+1"))]
    outcomes, _ = ingest([tmp_path], tmp_path / "out" / "c.zarr", PEOPLE)
    reasons = {outcome.source: outcome.reason for outcome in outcomes if outcome.status == "refused"}
    assert sorted(reasons) == sorted(map(str, (found[0], found[1], found[3])))
    for path, reason in reasons.items():
        others = [str(other) for other in found if str(other) in reason and str(other) != path]
        assert reason.startswith(f"{path}: its participant would get the same name as another one")
        assert len(others) == 1
    assert Cohort.open(tmp_path / "out" / "c.zarr").recordings() == ["B_2"]


def test_people_whose_ids_become_one_name_are_refused_in_every_element_of_an_array(tmp_path: Path) -> None:
    for number, name in enumerate(("A 1", "A_1")):
        table(tmp_path / f"id={name}" / f"{number}.csv")
    for element in (1, 2):
        planned = plan_ingest([tmp_path], replace(PEOPLE, part=Part(element, 2)))
        assert (len(planned.files), len(planned.refused)) == (0, 1)


@pytest.mark.parametrize(("first", "second"), [("A 1", "A_1"), ("A_1", "A 1"), ("A 1", "A+1")])
def test_people_whose_ids_become_one_name_are_refused_in_a_later_run(tmp_path: Path, first: str, second: str) -> None:
    one, other = table(tmp_path / "x" / f"id={first}" / "1.csv"), table(tmp_path / "x" / f"id={second}" / "2.csv")
    out = tmp_path / "c.zarr"
    assert ingest([one], out, PEOPLE)[0][0].status == "ingested"
    for _ in range(2):
        (outcome,), _ = ingest([other], out, PEOPLE)
        assert outcome.status == "refused"
        assert (
            f"{other}: its participant would get the same name as another one, that of 1.csv in {out}" in outcome.reason
        )
    assert ingest([one], out, PEOPLE)[0][0].status == "already there"
    more = table(tmp_path / "x" / f"id={first}" / "3.csv")
    assert ingest([more], out, PEOPLE)[0][0].status == "ingested"
    if " " in first:
        assert not any(first.encode() in path.read_bytes() for path in out.rglob("*") if path.is_file())


def test_two_people_of_one_name_that_came_in_at_the_same_time_are_found_by_shard(
    cohort: Cohort, tmp_path: Path
) -> None:
    made = Cohort.create(tmp_path / "c.zarr")
    opened = cohort.open_recording(cohort.recordings()[0])
    hours = opened.read_hours(0, opened.info.hours)
    for number, digest in enumerate(("", "a" * 16, "a" * 16, "b" * 16)):
        info = replace(opened.info, recording=f"r{number}", participant="A_1", participant_xxh3=digest)
        if number == 3:
            writer.write_shards(made, tmp_path / "before", ShardOptions(quality=POLICIES["none"]))
        made.write(info, hours.accel, hours.motion, hours.wear)
    with pytest.raises(HarnetError, match="the recordings r1 and r3 are of two people whose ids became the same name"):
        writer.write_shards(made, tmp_path / "after", ShardOptions(quality=POLICIES["none"]))


def test_a_pattern_that_finds_nobody_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(tmp_path / "in" / "P1" / "wrist.csv")
    lost = table(tmp_path / "in" / "Q2" / "wrist.csv")
    (tmp_path / "in" / "readme.txt").write_text("no device file")
    command = ["ingest", str(tmp_path / "in"), "--participant-pattern", r"(P\d)/", "--quality", "none"]
    assert main([*command, "--out", str(tmp_path / "c.zarr")]) == 1
    printed = capsys.readouterr().out
    assert f"refused: {lost}: --participant-pattern '(P\\\\d)/' matches no participant in {lost}" in printed
    assert "skipped: 1 files (readme.txt)" in printed
    assert Cohort.open(tmp_path / "c.zarr").recordings() == ["P1_wrist"]


def test_where_a_command_is_started_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = IngestOptions(participant_pattern=r"visits/(P\d)/")
    path = table(tmp_path / "visits" / "P1" / "wrist.csv")
    names = []
    for where, given in ((tmp_path, "visits"), (tmp_path / "visits", "."), (path.parent, "wrist.csv"), ("/", path)):
        monkeypatch.chdir(where)
        (file,) = plan_ingest([Path(given)], options).files
        assert file.identity is not None
        names.append((file.identity.recording, file.identity.participant))
    assert set(names) == {("P1_wrist", "P1")}
    path = table(tmp_path / "P7" / "visits" / "P1" / "wrist.csv")
    monkeypatch.chdir(tmp_path / "P7")
    ((_, reason),) = plan_ingest([Path("visits")], IngestOptions(participant_pattern=r"(P\d)/")).refused
    assert f"matches one participant there and another one in {path}: make it match in one place only" in reason


def test_a_dry_run_lists_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path / "in" / "P1" / "wrist.csv")
    (tmp_path / "in" / "readme.txt").write_text("no device file")
    command = ["ingest", str(tmp_path / "in"), "--out", str(tmp_path / "c.zarr"), "--dry-run"]
    assert main([*command, "--participant-pattern", r"(P\d)/"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[1].split()[0] == str(path)
    assert printed[1].split()[-2:] == ["P1", "P1_wrist"]
    assert printed[-1] == "1 files of 1 people, 0 refused, 0 excluded, 1 skipped; nothing was read or written"
    assert main([*command, "--participant-pattern", r"(Q\d)/", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], [each["source"] for each in report["refused"]]) == ([], [str(path)])
    assert main([*command, "--json"]) == 0
    (file,) = json.loads(capsys.readouterr().out)["files"]
    assert (file["participant"], file["recording"], "CSV" in file["kind"]) == ("wrist", "wrist", True)
    (tmp_path / "withdrew.txt").write_text("P1\n")
    assert main([*command, "--participant-pattern", r"(P\d)/", "--exclude", str(tmp_path / "withdrew.txt")]) == 0
    printed = capsys.readouterr().out
    assert "P1" not in printed
    assert "0 files of 0 people, 0 refused, 1 excluded" in printed
    assert not (tmp_path / "c.zarr").exists()


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    inside = table(tmp_path / "in" / "b" / "1.csv")
    outside = table(tmp_path / "elsewhere" / "2.csv")
    (tmp_path / "in" / "a_link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "in" / "again").symlink_to("../elsewhere")
    (tmp_path / "in" / "b" / "loop").symlink_to("..")
    (tmp_path / "in" / "0_same").symlink_to("b")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "in" / "b")
    os.symlink("nowhere", tmp_path / "in" / "broken")
    found = files_below([tmp_path / "in"])
    assert [path for path, _ in found] == [
        tmp_path / "in" / "broken",
        inside,
        tmp_path / "in" / "a_link" / "2.csv",
    ]
    outcomes, skipped = ingest([tmp_path / "in"], tmp_path / "c.zarr", IngestOptions())
    assert [outcome.recording for outcome in outcomes] == [None, "1", "2"]
    assert (outcomes[0].status, "broken" in outcomes[0].reason) == ("refused", True)
    assert skipped == ()
    assert outside.exists()
    with pytest.raises(HarnetError, match="no device file found"):
        plan_ingest([tmp_path / "nothing"], IngestOptions()) if (tmp_path / "nothing").mkdir() is None else None


def test_names_that_are_not_text_or_have_several_lines(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(b"odd\n\xff.csv"))
    path = table(tmp_path / "in" / odd)
    path.write_text(path.read_text().replace("\n", "\n\n", 1))
    (tmp_path / "in" / f"cut{odd}.gz").write_bytes(b"\x1f\x8b\x08")
    shown = r"odd\n\udcff.csv"

    def lines(*command: str) -> list[str]:
        strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
        run = [sys.executable, "-c", "from launch.cli import entry_point; entry_point()", *command]
        done = subprocess.run(run, capture_output=True, text=True, env=strict, cwd=tmp_path, check=False)
        assert "Traceback" not in done.stderr
        return done.stdout.splitlines()

    printed = lines("ingest", "in", "--out", "c.zarr", "--quality", "none")
    assert printed[0] == f"note: in/{shown}: blank lines: 1"
    assert printed[1].startswith(f"refused: in/cut{shown}.gz: the compressed file is damaged")
    assert printed[2].startswith("c.zarr: 2 recordings in, 1 ingested")
    planned = lines("ingest", "in", "--out", "c.zarr", "--dry-run")
    assert [planned[1].split()[0], planned[2][:30]] == [f"in/{shown}", f"refused: in/cut{shown}.gz"[:30]]
    lines("quality", "c.zarr", "--out", "report", "--quality", "none")
    assert shown in (tmp_path / "report" / "recordings.csv").read_text()
    assert f"cut{shown}.gz" in (tmp_path / "report" / "index.html").read_text()
