import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

import harnet
from harnet import console
from launch.cli import COMMANDS, main
from pretrain.command import Command, describe_options_origin
from pretrain.config import differences
from pretrain.toml import CONFIGS, with_config_files


def code_of(*arguments: str) -> int:
    """Exit code of a command line, whether it is returned or raised by the option parser."""
    try:
        return main(arguments)
    except SystemExit as error:
        return int(error.code or 0)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(name, "--help") == 0
    assert f"Example: harnet {name} " in " ".join(capsys.readouterr().out.split())


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert code_of("--version") == 0
    assert capsys.readouterr().out == f"harnet {harnet.__version__}\n"
    assert code_of() == console.USAGE
    assert code_of("nonsense") == console.USAGE


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["shard", "nowhere.zarr", "--out", "x"], "nowhere.zarr"),
        (["verify", "nowhere"], "nowhere: no manifest.parquet"),
        (["export", "nowhere", "--out", "x"], "nowhere: no complete checkpoint"),
        (["pretrain", "--data.shards", "nowhere", "--run.out", "x"], "nowhere: no manifest.parquet"),
        (["pretrain", "--config", "nowhere.toml"], "nowhere.toml: no such configuration file"),
        (["finetune", "nowhere", "--weights", "none", "--model", "harnet5", "--out", "x"], "nowhere"),
    ],
)
def test_a_users_mistake_is_one_line_and_code_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert code_of(*arguments) == console.USER_MISTAKE
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--data.batch", "33", "not a multiple of lanes"),
        ("--data.batch", "many", "--data.batch"),
        ("--run.steps", "0", "run.steps is 0"),
        ("--run.keep", "1", "run.keep is 1"),
        ("--optimizer.learning-rate", "0", "optimizer.learning_rate is 0.0"),
        ("--optimizer.learning-rate", "nan", "optimizer.learning_rate is nan"),
        ("--optimizer.warmup-steps", "99999", "optimizer.warmup_steps is 99999"),
        ("--multitask.tasks", "reversal reversal", "multitask.tasks"),
        ("--multitask.low-pass-hz", "15", "multitask.low_pass_hz is 15.0"),
        ("--model.architecture", "harnet7", "harnet7"),
        ("--data.nonsense", "1", "--data.nonsense"),
        ("--objective", "byol", "one of: multitask, simclr"),
    ],
)
def test_a_wrong_setting_is_named(option: str, value: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("pretrain", "--data.shards", "s", "--run.out", "r", option, *value.split()) == console.USAGE
    assert says in " ".join(capsys.readouterr().err.replace("│", " ").split())


def test_a_toml_file_is_read_like_the_command_line_which_overrides_it(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(
        '[data]\nshards = "s"\nbatch = 64\n[run]\nout = "r"\nsteps = 900\n[multitask]\ntasks = ["scaling"]\n'
    )
    options = Command.parse("harnet pretrain", ["--config", str(path), "--run.steps", "800"]).options
    assert (options.data.batch, options.run.steps, options.multitask.tasks) == (64, 800, ("scaling",))
    assert with_config_files(["--a", "1"]) == (["--a", "1"], [])
    (tmp_path / "site.toml").write_text("[data]\nbatch = 128\nlanes = 8\n[run]\nsteps = 10\n")
    both = [f"--config={path}", "--run.steps", "800", "--config", str(tmp_path / "site.toml")]
    command = Command.parse("harnet pretrain", both)
    options = command.options
    assert (options.data.batch, options.data.lanes, options.data.shards, options.run.steps) == (128, 8, "s", 800)
    assert (
        describe_options_origin(command.files)
        == f"options: {path}, then {tmp_path / 'site.toml'}, then the command line"
    )
    path.write_text("batch = ")
    with pytest.raises(ValueError, match="not TOML"):
        with_config_files(["--config", str(path)])


def test_the_objective_is_chosen_in_a_file_or_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text('objective = "masked"\n[masked]\nshare = 0.25\n[data]\nshards = "s"\n[run]\nout = "r"\n')
    options = Command.parse("x", ["--config", str(path)]).options
    assert (options.objective, options.masked.share) == ("masked", 0.25)
    words = ["--config", str(path), "--objective", "simclr", "--simclr.transforms", "rotation", "noise"]
    options = Command.parse("x", words).options
    assert (options.objective, options.simclr.transforms) == ("simclr", ("rotation", "noise"))


def test_every_option_of_pretraining_is_in_the_documents() -> None:
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "pretrain.md").read_text() + (docs / "objectives.md").read_text()
    options = Command.parse("x", ["--data.shards", "s", "--run.out", "r"]).options
    for section, values in asdict(options).items():
        for name in values if isinstance(values, dict) else ():
            assert f"`{section}.{name}`" in text or f"`{name}`" in text, f"{section}.{name}"


def test_only_settings_that_numbers_depend_on_must_stay() -> None:
    base = ["--data.shards", "s", "--run.out", "r"]
    one = Command.parse("x", base).options.as_dict()
    other = Command.parse(
        "x", [*base, "--data.workers", "3", "--run.log-every", "7", "--data.batch", "64"]
    ).options.as_dict()
    assert differences(one, other) == ["data.batch was 512, now 64"]


def test_every_configuration_in_the_repository_is_valid() -> None:
    files = sorted(CONFIGS.glob("*.toml"))
    assert files
    for path in files:
        options = Command.parse("x", ["--config", str(path), "--data.shards", "s", "--run.out", "r"]).options
        assert options.order().seed == 0


def test_a_missing_package_is_one_line_that_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from launch.cli import main; sys.exit(main(['shard', 'c.zarr', '--out', 's']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == console.USER_MISTAKE
    assert done.stderr.strip() == "harnet shard: needs the package 'pyarrow': pip install 'harnet[data]'"
