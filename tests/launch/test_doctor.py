import json
from pathlib import Path

import pytest

from launch import doctor
from launch.allreduce import bus_bandwidth
from launch.cli import main
from launch.profile import Profile


def test_every_line_is_good_or_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SLURM_CONF", raising=False)
    code = main(["doctor", "--folder", str(tmp_path / "runs")])
    lines = capsys.readouterr().out.splitlines()
    assert {line[:4] for line in lines} <= {"good", "FIX "}
    named = [line[6:].partition(":")[0] for line in lines]
    assert {"Python", "torch", "CUDA", "network", "run folder", "Slurm"} <= set(named)
    assert code == int(any(line.startswith("FIX") for line in lines))
    assert not list(tmp_path.iterdir()), "nothing is left behind"
    main(["doctor", "--folder", str(tmp_path), "--json"])
    assert [finding["what"] for finding in json.loads(capsys.readouterr().out)] == named


def test_a_folder_that_cannot_be_written_is_found(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    findings = {finding.what: finding for finding in doctor.examine(file, Profile())}
    assert not findings["run folder"].good
    assert "--folder" in findings["run folder"].text


def test_a_network_that_is_not_there_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NCCL_SOCKET_IFNAME", "nosuch0")
    findings = {finding.what: finding for finding in doctor.examine(tmp_path, Profile())}
    assert not findings["network"].good
    assert "NCCL_SOCKET_IFNAME is nosuch0" in findings["network"].text


def test_without_slurm_only_several_nodes_need_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = {finding.what: finding for finding in doctor.examine(tmp_path, Profile())}
    assert findings["Slurm"].good
    assert "torchrun" in findings["Slurm"].text
    assert main(["doctor", "--folder", str(tmp_path), "--nodes", "2"]) == 1
    assert "FIX   2 nodes: sbatch and srun are not on the PATH" in capsys.readouterr().out


def test_bandwidth_counts_what_each_link_carries() -> None:
    assert bus_bandwidth(10**9, 1.0, 2) == pytest.approx(1.0)
    assert bus_bandwidth(10**9, 0.5, 4) == pytest.approx(3.0)
