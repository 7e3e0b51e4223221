import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from data_shards.shards import manifest
from data_shards.synthetic.record import NOTE
from launch.cli import main


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "synth.zarr"
    labels = out.parent / "labels.parquet"
    assert main(["synth", "--people", "2", "--days", "1", "--out", str(out), "--labels", str(labels)]) == 0
    return out


def test_synth_says_what_it_made_and_that_nobody_was_recorded(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["synth", "--people", "2", "--days", "1", "--out", str(store)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith(f"{store}: 2 people, 2 person-days, ")
    assert shown[1] == NOTE
    assert main(["synth", "--people", "2", "--days", "1", "--out", str(store), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["people"], said["person_days"], said["note"]) == (2, 2, NOTE)
    assert pq.read_table(store.parent / "labels.parquet").num_rows > 50


def test_shards_of_it_say_so_too(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["shard", str(store), "--out", str(tmp_path / "shards"), "--quality", "none"]) == 0
    assert "synthetic" in manifest.read(tmp_path / "shards").provenance["preprocessing"]["filter"]


def test_quality_prints_the_flow_and_writes_the_report(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "quality"
    assert main(["quality", str(store), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "note: 2 of 2 recordings are synthetic" in shown
    assert "\n        0  recordings out: 0 people, 0 person-days, 0.0 h worn\n" in shown
    assert f"{out / 'index.html'}: the report; it contains the participants" in shown
    assert main(["quality", str(store), "--out", str(out), "--quality", "none", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((out / "flow.json").read_text())
    page = (out / "index.html").read_text()
    assert "mg or more" not in page
    assert not re.search(r"\binf\b", page)
    policy = tmp_path / "own.toml"
    policy.write_text("min_wear_hours = 1\ncalibrated = false\nevery_clock_hour = false\n")
    assert main(["quality", str(store), "--out", str(out), "--quality", str(policy), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kept"] == 2
    assert sorted(path.name for path in out.iterdir()) == ["flow.json", "index.html", "recordings.csv"]


def test_the_option_of_version_0_1_is_taken_with_a_note(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--policy", "none"], ["--policy=none"]):
        assert main(["quality", str(store), "--out", str(tmp_path / "quality"), *option, "--json"]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)["kept"] == 2
        assert shown.err.count("harnet quality: --policy is now --quality;") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["synth", "--people", "0", "--out", "x"], "--people 0"),
        (["quality", "nowhere.zarr", "--out", "x"], "nowhere.zarr"),
        (["quality", "STORE", "--out", "x", "--quality", "strict"], "quality policy 'strict'"),
        (["quality", "STORE", "--out", "x", "--workers", "0"], "--workers 0"),
    ],
)
def test_a_mistake_is_one_line(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(store) if each == "STORE" else each for each in arguments]) == 1
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
