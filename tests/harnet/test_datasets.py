"""Parsers of public data sets, on small files in the documented format and on damaged ones."""

import gzip
import io
import zipfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from harnet.datasets import capture24, dsads, mjff_lr, opportunity, pamap2, realworld, selfback, wisdm
from harnet.datasets.cutting import STANDARD_GRAVITY, WindowCutting
from harnet.datasets.parsed_dataset import ParsedDataset
from harnet.datasets.registry import DATASETS
from harnet.errors import HarnetError
from harnet.transfer.labelled_windows import read_windows
from launch.cli import main

G = STANDARD_GRAVITY
CUT = WindowCutting()


def wisdm_lines(person: int, codes: str = "AS", stamped: bool = True) -> list[str]:
    lines, time = [], 90426708196641
    for code in codes:
        for number in range(300):
            time += 50_000_000
            stamp = f"{time}," if stamped else ""
            lines.append(f"{person},{code},{stamp}{0.001 * number:.4f},0.0,{G:.5f};")
    return lines


def wisdm_folder(folder: Path, lines: dict[int, list[str]]) -> Path:
    home = folder / "raw" / "watch" / "accel"
    home.mkdir(parents=True)
    for person, rows in lines.items():
        (home / f"data_{person}_accel_watch.txt").write_text("\n".join(rows) + "\n")
    return folder


def pamap2_folder(folder: Path, people: range = range(101, 110)) -> Path:
    (folder / "Protocol").mkdir(parents=True)
    for person in people:
        table = np.zeros((2600, 54))
        table[:, 0] = np.arange(2600) / 100
        table[:, 1] = np.repeat([0, 4, 9], [600, 1400, 600])
        table[:, 6] = G
        table[::50, 4:7] = np.nan
        np.savetxt(folder / "Protocol" / f"subject{person}.dat", table, fmt="%.5g")
    return folder


def opportunity_folder(folder: Path, people: str = "1234") -> Path:
    (folder / "dataset").mkdir(parents=True)
    for person in people:
        table = np.zeros((630, 250))
        table[:, 0] = np.arange(630) * 33
        table[:, 65] = 1000
        table[:, 243] = 5
        np.savetxt(folder / "dataset" / f"S{person}-ADL1.dat", table, fmt="%d")
    return folder


def realworld_table() -> str:
    rows = [f"{n},{1435993000000 + n * 20},{G},0,0" for n in range(800)]
    return "\n".join([realworld.HEADER, *rows]) + "\n"


def zipped(members: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return held.getvalue()


def realworld_folder(folder: Path) -> Path:
    home = folder / "proband3" / "data"
    home.mkdir(parents=True)
    table = realworld_table().encode()
    members = {"acc_walking_forearm.csv": table, "acc_walking_waist.csv": b"not read", "readMe": b""}
    (home / "acc_walking_csv.zip").write_bytes(zipped(members))
    inner = zipped({"acc_climbingup_2_forearm.csv": table})
    (home / "acc_climbingup_csv.zip").write_bytes(zipped({"acc_climbingup_2_csv.zip": inner}))
    return folder


def capture_folder(folder: Path, annotation: str = "7030 sleeping;MET 0.95") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    text = "annotation,label:Willetts2018,label:Walmsley2020\n7030 sleeping;MET 0.95,sleep,sleep\n"
    (folder / capture24.DICTIONARY).write_text(text + "home;sitting,sit-stand,sedentary\n")
    rows = [f"2016-11-13 02:18:{n // 100:02d}.{n % 100 * 10000:06d},0.0,0.0,1.0," for n in range(3000)]
    rows = [row + (annotation if n < 1500 else "") for n, row in enumerate(rows)]
    for person in ("P001", "P002"):
        with gzip.open(folder / f"{person}.csv.gz", "wt") as file:
            file.write("\n".join(["time,x,y,z,annotation", *rows]) + "\n")
    return folder


def mjff_folder(folder: Path) -> Path:
    home = folder / "GENEActiv" / "3_BOS"
    home.mkdir(parents=True)
    rows = [f"{1.4e9 + n / 50:.2f}\t0\t0\t1\t1" for n in range(2000)]
    (home / "rawdata_day1.txt").write_text("\n".join(["timestamp\tX\tY\tZ\tMagnitude", *rows]) + "\n")
    tasks = "subject_id,visit,task_code,timestamp_start,timestamp_end,symptom\n"
    tasks += "".join(f"3_BOS,1,wlkgs,{1.4e9 + 10},{1.4e9 + 30},{symptom}\n" for symptom in ("tremor", "dyskinesia"))
    (folder / "TaskScoresPartI.csv").write_text(tasks)
    return folder


def dsads_folder(folder: Path) -> Path:
    lines = (
        "\n".join(",".join(["0"] * 9 + ["9.80665"] + ["0"] * 8 + ["9.80665"] + ["0"] * 26) for _ in range(125)) + "\n"
    )
    for activity, person in (("a01", "p1"), ("a12", "p2")):
        home = folder / "data" / activity / person
        home.mkdir(parents=True)
        for segment in range(1, 7):
            (home / f"s{segment:02d}.txt").write_text(lines)
    return folder


def selfback_folder(folder: Path) -> Path:
    # The clocks of these devices run a little slow, and stamps are whole milliseconds.
    stamps = [datetime(2016, 2, 25, 15) + timedelta(milliseconds=round(n * 10.12)) for n in range(3000)]
    lines = "\n".join(["time,x,y,z", *(f"{stamp},0,0.6,0.8" for stamp in stamps)]) + "\n"
    for path in ("w/walk_fast/026.csv", "w/jogging/027.csv", "t/jogging/027.csv"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(lines)
    return folder


MADE: dict[str, tuple[Callable[[Path], Path], int, set[str], int]] = {
    "wisdm": (lambda f: wisdm_folder(f, {n: wisdm_lines(n) for n in (1600, 1601)}), 8, {"walking", "folding"}, 2),
    "pamap2": (pamap2_folder, 8 * 3, {"walking"}, 8),
    "opportunity": (opportunity_folder, 4 * 3, {"lie"}, 4),
    "dsads": (dsads_folder, 2 * 5, {"sitting", "running treadmill 8 km/h"}, 2),
    "dsads-wrists": (dsads_folder, 2 * 2 * 5, {"sitting", "running treadmill 8 km/h"}, 2),
    "selfback": (selfback_folder, 2 * 5, {"walk_fast", "jogging"}, 2),
    "realworld": (realworld_folder, 4, {"walking", "climbingup"}, 1),
    "capture24": (capture_folder, 2 * 2, {"sleep"}, 2),
    "capture24-willetts": (capture_folder, 2 * 2, {"sleep"}, 2),
    "mjff-lr": (mjff_folder, 5, {"wlkgs"}, 1),
}
"""Data set -> function that writes a small one, number of windows, labels, number of people."""


@pytest.mark.parametrize("name", MADE)
def test_a_small_data_set_of_the_documented_form_is_read(name: str, tmp_path: Path) -> None:
    make, windows, labels, people = MADE[name]
    found = DATASETS[name].read(make(tmp_path / "raw"), CUT)
    assert found.windows.shape == (windows, 3, 300)
    assert found.windows.dtype == np.float32
    assert set(found.labels.tolist()) == labels
    assert len(set(found.people.tolist())) == people
    norm = np.linalg.norm(found.windows, axis=1)
    assert np.abs(norm - 1).max() < 0.03, "units of g"
    assert 0 < found.seconds <= windows * 10
    assert f"{people} people, {windows} windows" in found.summary()[0]


@pytest.mark.parametrize("name", MADE)
def test_a_folder_without_the_data_set_is_one_clear_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match="expected"):
        DATASETS[name].read(tmp_path, CUT)


def test_every_known_data_set_is_tested() -> None:
    assert set(MADE) | {"adl"} == set(DATASETS)
    assert all(row.url.startswith("https://") or row.ask for row in DATASETS.values())


def test_wisdm_without_times_and_written_twice(tmp_path: Path) -> None:
    once = wisdm.read(wisdm_folder(tmp_path / "a", {1600: wisdm_lines(1600)}), CUT)
    bare = wisdm.read(wisdm_folder(tmp_path / "b", {1600: wisdm_lines(1600, stamped=False)}), CUT)
    lines = wisdm_lines(1629)
    twice = wisdm.read(wisdm_folder(tmp_path / "c", {1629: lines + lines}), CUT)
    bare_lines = wisdm_lines(1629, stamped=False)
    bare_twice = wisdm.read(wisdm_folder(tmp_path / "d", {1629: bare_lines + bare_lines}), CUT)
    for other in (bare, twice, bare_twice):
        np.testing.assert_array_equal(other.windows, once.windows)
    assert any("600 duplicate lines" in note for note in twice.notes)
    assert any("the complete data set has 51" in note for note in once.notes)


@pytest.mark.parametrize(
    "line", ["1601,A,1,1,1,1;", "1600,N,1,1,1,1;", "1600,A,1,x,1,1;", "1600,A,1,1;", "1600,A,1,1,1,1;1600,A,2,1,1,1;"]
)
def test_a_spoilt_line_of_wisdm_is_named(line: str, tmp_path: Path) -> None:
    folder = wisdm_folder(tmp_path, {1600: [*wisdm_lines(1600), line]})
    with pytest.raises(HarnetError, match=r"data_1600_accel_watch.txt: line 601: "):
        wisdm.read(folder, CUT)


def test_two_copies_of_wisdm_are_refused(tmp_path: Path) -> None:
    for copy in ("a", "b"):
        wisdm_folder(tmp_path / copy, {1600: wisdm_lines(1600)})
    with pytest.raises(HarnetError, match="more than once"):
        wisdm.read(tmp_path, CUT)


def test_pamap2_is_wanted_whole_and_109_is_left_out(tmp_path: Path) -> None:
    found = pamap2.read(pamap2_folder(tmp_path / "whole"), CUT)
    assert "109" not in found.people
    with pytest.raises(HarnetError, match=r"subject108\.dat"):
        pamap2.read(pamap2_folder(tmp_path / "partial", range(101, 108)), CUT)
    (tmp_path / "whole" / "Protocol" / "subject103.dat").write_text("1 2 3\n")
    with pytest.raises(HarnetError, match=r"subject103.dat: expected 54 numbers"):
        pamap2.read(tmp_path / "whole", CUT)


@pytest.mark.parametrize(("name", "row"), [("s03.txt", "1,2"), ("s03.txt", "a,b")])
def test_a_spoilt_segment_of_dsads_is_named(name: str, row: str, tmp_path: Path) -> None:
    path = dsads_folder(tmp_path) / "data" / "a12" / "p2" / name
    path.write_text(row + "\n")
    with pytest.raises(HarnetError, match=r"a12/p2/s03\.txt: .*number"):
        dsads.read(tmp_path, CUT)


def test_exact_zeros_of_dsads_are_no_signal_and_are_counted(tmp_path: Path) -> None:
    home = dsads_folder(tmp_path) / "data" / "a12" / "p2"
    for path in home.iterdir():
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:100] + [",".join(["0"] * 45)] * 25) + "\n")
    found = dsads.read(tmp_path, CUT)
    assert set(found.labels.tolist()) == {"sitting"}
    assert "6 s of exact zeros treated as missing; 1 recordings therefore gave no window" in found.notes[-1]
    assert dsads.read(tmp_path, CUT, wrists=("left",)).people.tolist() == ["p1"] * 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x,y,z\n", "begins with 'x,y,z'"),
        ("time,x,y,z\n2016-02-25 15:00:00,1,2,3\n1,2\n", "line 3"),
        ("time,x,y,z\n", "no samples"),
        ("", "begins with ''"),
    ],
)
def test_a_spoilt_table_of_selfback_is_named(text: str, says: str, tmp_path: Path) -> None:
    (selfback_folder(tmp_path) / "w" / "jogging" / "027.csv").write_text(text)
    with pytest.raises(HarnetError, match=rf"027\.csv: .*{says}"):
        selfback.read(tmp_path, CUT)


def labelled_parquet(path: Path, rate: float, label: str, **other: list[float]) -> None:
    count = int(21 * rate)
    columns = {"time": [n / rate for n in range(count)], "x": [0.0] * count, "y": [0.0] * count, "z": [1.0] * count}
    parquet.write_table(pa.table({**columns, "label": [label] * count} | other), path)


@pytest.mark.parametrize(
    ("name", "files", "person", "rate"),
    [
        ("dsads", {"dsads-p3__a05-rightwrist": "ascending stairs", "dsads-p3__a06-leftwrist": ""}, "p3", 25),
        ("selfback", {"selfback-007__walk-fast": "walk_fast"}, "007", 99),
    ],
)
def test_copies_as_parquet_give_the_same_people_and_labels(
    name: str, files: dict[str, str], person: str, rate: float, tmp_path: Path
) -> None:
    for file, label in files.items():
        labelled_parquet(tmp_path / f"{file}.parquet", rate, label)
    found = DATASETS[name].read(tmp_path, CUT)
    assert set(found.people.tolist()) == {person}
    assert set(found.labels.tolist()) == {next(iter(files.values()))}
    assert len(found.windows) == 3


def test_a_parquet_file_of_another_form_is_named(tmp_path: Path) -> None:
    path = tmp_path / "selfback-007__jogging.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(HarnetError, match=r"jogging\.parquet: not a Parquet table of time, x, y, z, label"):
        selfback.read(tmp_path, CUT)
    parquet.write_table(pa.table({"time": [0.0], "x": [0.0]}), path)
    with pytest.raises(HarnetError, match=r"jogging\.parquet: no column 'y'"):
        selfback.read(tmp_path, CUT)


def test_opportunity_is_wanted_whole(tmp_path: Path) -> None:
    with pytest.raises(HarnetError, match=r"S4-ADL1\.dat"):
        opportunity.read(opportunity_folder(tmp_path / "partial", "123"), CUT)
    opportunity_folder(tmp_path / "whole")
    (tmp_path / "whole" / "dataset" / "S2-Drill.dat").write_text("0 1 2\n")
    with pytest.raises(HarnetError, match=r"S2-Drill.dat: expected 250 numbers"):
        opportunity.read(tmp_path / "whole", CUT)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("acc_sitting_csv.zip", b"PK\x03\x04 cut off", "not a complete zip"),
        ("acc_sitting_forearm.csv", b"a,b,c\n1,2,3\n", "expected the columns"),
        ("acc_sitting_forearm.csv", f"{realworld.HEADER}\n1,2,x,4,5\n".encode(), "expected five numbers"),
        ("acc_sitting_forearm.csv", f"{realworld.HEADER}\n1,2,3\n".encode(), "expected five numbers"),
    ],
)
def test_spoilt_files_of_realworld_are_named(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    folder = realworld_folder(tmp_path)
    (folder / "proband3" / "data" / name).write_bytes(content)
    with pytest.raises(HarnetError, match=f"{name}.*{says}"):
        realworld.read(folder, CUT)


def test_capture24_needs_its_dictionary(tmp_path: Path) -> None:
    folder = capture_folder(tmp_path)
    with pytest.raises(HarnetError, match="no column 'label:Nonsense'"):
        capture24.read(folder, CUT, scheme="Nonsense")
    with pytest.raises(HarnetError, match=r"P001.csv.gz: no annotation is in"):
        capture24.read(capture_folder(tmp_path, "unknown"), CUT)
    capture_folder(tmp_path)
    (folder / "P002.csv.gz").write_bytes((folder / "P002.csv.gz").read_bytes()[:200])
    with pytest.raises(HarnetError, match=r"P002.csv.gz: not a complete table"):
        capture24.read(folder, CUT)
    (folder / capture24.DICTIONARY).unlink()
    with pytest.raises(HarnetError, match="is distributed with the recordings"):
        capture24.read(folder, CUT)


def test_spoilt_tables_of_mjff_are_named(tmp_path: Path) -> None:
    folder = mjff_folder(tmp_path)
    sensor, tasks = folder / "GENEActiv" / "3_BOS" / "rawdata_day1.txt", folder / "TaskScoresPartI.csv"
    before = sensor.read_text()
    sensor.write_text("time\tx\n1\t2\n")
    with pytest.raises(HarnetError, match=r"rawdata_day1.txt: not a table of timestamp"):
        mjff_lr.read(folder, CUT)
    sensor.write_text(before)
    tasks.write_text("subject_id,task_code,timestamp_start,timestamp_end\n3_BOS,wlkgs,noon,later\n")
    with pytest.raises(HarnetError, match=r"TaskScoresPartI.csv: times are not seconds"):
        mjff_lr.read(folder, CUT)
    tasks.write_text("subject,task\n3_BOS,wlkgs\n")
    with pytest.raises(HarnetError, match="no column 'subject_id'"):
        mjff_lr.read(folder, CUT)


def test_the_command_writes_what_finetune_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = wisdm_folder(tmp_path / "raw", {n: wisdm_lines(n) for n in (1600, 1601)})
    out = tmp_path / "labelled" / "wisdm"
    assert main(["dataset", "windows", "wisdm", str(raw), "--out", str(out)]) == 0
    assert "labels: walking 4, folding 4" in capsys.readouterr().out
    data = read_windows(out, "harnet10")
    assert data.classes == ("folding", "walking")
    before = (out / "X.npy").read_bytes()
    assert main(["dataset", "windows", "wisdm", str(raw), "--out", str(out), "--json"]) == 0
    assert (out / "X.npy").read_bytes() == before
    (out / "other.txt").write_text("")
    assert main(["dataset", "windows", "wisdm", str(raw), "--out", str(out)]) == 1
    assert "contains files other than" in capsys.readouterr().err
    assert main(["dataset", "windows", "nonsense", str(raw), "--out", str(out)]) == 1
    assert "unknown; one of: adl, wisdm" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["dataset", "windows", "wisdm", str(raw), "--out", str(out), "--seconds", "7"])


def test_the_list_says_how_each_is_obtained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataset", "list"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in DATASETS)


def test_labelled_windows_name_what_was_left_out() -> None:
    found = ParsedDataset(np.zeros((1, 3, 300), np.float32), np.array(["a"]), np.array(["p"]), 10.0, ("note",))
    assert found.summary() == ["1 people, 1 windows, 0.00 h, 1 labels", "labels: a 1", "note"]
