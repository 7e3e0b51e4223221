from pathlib import Path

import pytest

from harnet import console
from launch.cli import main
from launch.commands.template import templates
from launch.profile import PROFILES, read
from pretrain.command import Command
from pretrain.toml import CONFIGS

ROOT = Path(__file__).parents[2]


def test_a_name_prints_the_file_and_no_name_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["template"]) == 0
    listed = capsys.readouterr().out
    for name in ("harnet10", "population", "gpu", "cpu", "pretrain.sbatch", "ingest.sbatch", "shard.sbatch"):
        assert f"\n  {name} " in listed
        assert main(["template", name]) == 0
        assert capsys.readouterr().out.startswith("#")
    assert main(["template", "pretrain.sbatch"]) == 0
    assert capsys.readouterr().out == (ROOT / "slurm" / "pretrain.sbatch").read_text()
    assert main(["template", "pretrain"]) == console.USER_MISTAKE
    assert "no template 'pretrain'; one of: demo, harnet10" in capsys.readouterr().err


def test_no_two_templates_have_one_name() -> None:
    names = [name for files in templates().values() for name in files]
    assert len(names) == len(set(names)) > 10


def test_a_configuration_goes_by_name_and_a_file_of_that_name_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    more = ["--data.shards", "s", "--run.out", "r"]
    by_name, by_path = (
        Command.parse("x", ["--config", given, *more]) for given in ("population", str(CONFIGS / "population.toml"))
    )
    assert by_name == by_path
    assert by_name.options.data.batch == 15_360
    (tmp_path / "population").mkdir()
    assert Command.parse("x", ["--config=population", *more]) == by_path
    (tmp_path / "harnet10").write_text("[data]\nbatch = 48\n")
    assert Command.parse("x", ["--config=harnet10", *more]).options.data.batch == 48
    for unknown in ("harnet99", "../configs/population", "configs/population.toml"):
        assert main(["pretrain", "--config", unknown, *more]) == console.USER_MISTAKE
        error = capsys.readouterr().err
        assert error.startswith(
            f"harnet pretrain: {unknown}: no such configuration file, and not one of those that come"
        )
        assert "harnet10, open-weights, population" in error


def test_a_site_profile_goes_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read("cpu") == read(PROFILES / "cpu.toml")
    (tmp_path / "cpu").write_text('partition = "mine"\n')
    assert read("cpu").partition == "mine"
