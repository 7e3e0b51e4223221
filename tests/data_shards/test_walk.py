"""Finding 100,000 files without a system call for each, and once for all tasks of an array."""

import errno
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_shards.ingest.ingest_options import IngestOptions
from data_shards.ingest.ingest_plan import plan_ingest
from data_shards.ingest.walk import files_below, listed_below
from harnet.errors import HarnetError
from harnet.parts import Part
from launch.cli import main


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """Thirty files in three folders, one of them a link, and one file whose name is not valid text."""
    for folder in ("a", "b/c", "z"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        for number in range(10):
            (tmp_path / "in" / folder / f"{folder[0]}{number}.csv").write_text("time,x,y,z\n0,0,0,1\n")
    (tmp_path / "in" / "again.csv").symlink_to("a/a0.csv")
    Path(os.fsdecode(os.fsencode(tmp_path / "in") + b"/a/\xff.csv")).write_text("time,x,y,z\n0,0,0,1\n")
    return tmp_path / "in"


def ask(inputs: Path, listing: Path, answers: "multiprocessing.Queue[list[str]]") -> None:
    answers.put([str(path) for path, _ in listed_below([inputs], listing)])


def test_the_first_list_is_everybodys(inputs: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    answers: multiprocessing.Queue[list[str]] = context.Queue()
    listing = tmp_path / "jobs" / "files-7"
    processes = [context.Process(target=ask, args=(inputs, listing, answers)) for _ in range(4)]
    for process in processes:
        process.start()
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
    assert found == [[str(path) for path, _ in files_below([inputs])]] * 4
    assert [path.name for path in listing.parent.iterdir()] == ["files-7"]
    # Later files are left to another array: otherwise two tasks would divide different lists.
    (inputs / "a" / "new.csv").write_text("time,x,y,z\n0,0,0,1\n")
    assert [str(path) for path, _ in listed_below([inputs], listing)] == found[0]
    assert len(files_below([inputs])) == len(found[0]) + 1


def test_parts_with_a_list_take_each_file_once(inputs: Path, tmp_path: Path) -> None:
    planned = []
    for number in range(1, 4):
        options = IngestOptions(part=Part(number, 3), listing=tmp_path / "files-7")
        planned += [file.path for file in plan_ingest([inputs], options).files]
        (inputs / "b" / f"late-{number}.csv").write_text("time,x,y,z\n0,0,0,1\n")
    assert len(planned) == len(set(planned)) == 31
    assert {inputs / "again.csv", inputs / "z" / "z9.csv"} < set(planned)


def test_a_dry_run_shows_the_share_of_the_list_and_writes_none(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing = tmp_path / "files-7"
    part = ["ingest", str(inputs), "--out", str(tmp_path / "c.zarr"), "--part", "2/3", "--listing", str(listing)]

    def planned() -> list[str]:
        assert main([*part, "--dry-run", "--json"]) == 0
        return [file["source"] for file in json.loads(capsys.readouterr().out)["files"]]

    before = planned()
    assert not listing.exists()
    listed_below([inputs], listing)
    (inputs / "a" / "a00.csv").write_text("time,x,y,z\n0,0,0,1\n")  # moves all files after it to other tasks
    assert planned() == before
    listing.rename(tmp_path / "files-8")
    assert planned() != before


def test_a_list_of_other_inputs_or_a_damaged_one_is_refused(inputs: Path, tmp_path: Path) -> None:
    listing = tmp_path / "files-7"
    listed_below([inputs], listing)
    with pytest.raises(HarnetError, match="lists other inputs"):
        listed_below([inputs / "a"], listing)
    (file,) = listing.iterdir()
    file.write_text(json.dumps({"inputs": 3})[:-2])
    with pytest.raises(HarnetError, match="damaged: delete it"):
        listed_below([inputs], listing)


def test_a_listing_in_the_place_of_something_else_is_refused(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for other in (tmp_path / "file", inputs):
        with pytest.raises(HarnetError, match=f"--listing {other}: something else is stored there"):
            listed_below([inputs / "a"], other)
    assert (tmp_path / "file").read_text() == "x"


def test_nothing_is_asked_of_a_single_file(inputs: Path) -> None:
    """Counted by strace: the number of system calls does not grow with the files in a folder."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    counts = []
    for more in (0, 200):
        for number in range(more):
            (inputs / "a" / f"more-{number}.csv").write_text("")
        program = "import sys, pathlib; from data_shards.ingest.walk import files_below as f; "
        program += "print(len(f([pathlib.Path(sys.argv[1])])))"
        log = inputs.parent / "log"
        command = ["strace", "-f", "-e", "trace=%file", "-o", str(log), sys.executable, "-c", program, str(inputs)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        if done.returncode:
            pytest.skip(f"strace may not trace here: {done.stderr[-200:]}")
        assert int(done.stdout) == 31 + more
        counts.append(sum(str(inputs) in line for line in log.read_text().splitlines()))
    assert counts[0] == counts[1] > 0


def test_a_folder_that_cannot_be_listed_is_refused(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scandir = os.scandir

    def forbidden(folder: Path) -> object:
        if Path(folder).name == "z":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", forbidden)
    planned = plan_ingest([inputs], IngestOptions())
    assert [path for path, _ in planned.refused] == [inputs / "z"]
    assert planned.refused[0][1].startswith(f"{inputs}/z: cannot be read (")
    assert len(planned.files) == 21
    assert main(["ingest", str(inputs / "z"), "--out", str(tmp_path / "c.zarr")]) == 1
    assert f"refused: {inputs}/z: cannot be read (" in capsys.readouterr().out
    assert not (tmp_path / "c.zarr").exists()


def test_a_path_that_cannot_be_looked_up_stops_nobody(inputs: Path) -> None:
    long = inputs / ("x" * 300)
    planned = plan_ingest([long, inputs], IngestOptions())
    assert planned.refused == ((long, f"{long}: cannot be read (File name too long)"),)
    assert len(planned.files) == 31


def test_a_pipe_is_not_waited_for(inputs: Path) -> None:
    os.mkfifo(inputs / "pipe")
    assert plan_ingest([inputs], IngestOptions()).skipped == (f"{inputs}/pipe",)
    (refused,) = plan_ingest([inputs / "pipe"], IngestOptions()).refused
    assert refused[1].startswith(f"{inputs}/pipe: a pipe, socket or device: write its content to a file")


def test_links_that_lead_nowhere_or_to_themselves_are_refused(inputs: Path) -> None:
    (inputs / "site_B").symlink_to("/nowhere/at/all")
    (inputs / "itself").symlink_to("itself")
    (inputs / "a" / "up").symlink_to("../..")
    planned = plan_ingest([inputs], IngestOptions())
    assert [reason for _, reason in planned.refused] == [
        f"{inputs}/itself: cannot be read (Too many levels of symbolic links)",
        f"{inputs}/site_B: cannot be read (No such file or directory)",
    ]
    assert len(planned.files) == 31
