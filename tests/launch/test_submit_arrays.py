"""How `harnet submit` turns commands into job arrays, and that the tasks together do all of the work."""

from pathlib import Path

import pytest
import torch

from data_shards.cohort.store import Cohort
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save
from launch import array_commands
from launch.array_task import ArrayTask
from launch.arrays import JobArray
from launch.cli import main
from launch.profile import Profile
from tests.launch.stand_ins import stand_in


@pytest.fixture
def slurm(commands: Path) -> None:
    """Two nodes, one with a GPU."""
    nodes = "case \"$*\" in *%G*) echo 'n1|gpu:a100:1'; echo 'n2|';; *%n*) echo n1; echo n2;; *) echo main;; esac"
    stand_in(commands, "sinfo", nodes)
    stand_in(commands, "scontrol", "echo MaxArraySize = 1001")
    stand_in(commands, "sbatch", "exit 0")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    with torch.random.fork_rng():
        model = PretextModel("harnet5", width=8)
    config = BundleConfig("harnet5", 5, "none", width=8)
    return str(save(tmp_path_factory.mktemp("weights") / "bundle", model.state_dict(), config))


def arrayed(kind: str, *arguments: str) -> JobArray:
    return array_commands.job_array(kind, arguments, 2, Profile(gpu_type="a100", shared=("/",)))


@pytest.mark.parametrize(("device", "asks"), [("cpu", False), ("cuda", True)])
def test_elements_on_a_gpu_ask_for_one_each(
    slurm: None, cohort: Cohort, weights: str, tmp_path: Path, device: str, asks: bool
) -> None:
    array = arrayed("embed", str(cohort.root), "--weights", weights, "--out", str(tmp_path / "o"), "--device", device)
    for script in (array.array_job().script, array.verification_job("7").script):
        assert ("#SBATCH --gpus-per-node=a100:1" in script) == asks
        assert "embed" in script
    array.check()


def test_elements_do_the_whole_between_them_and_the_check_makes_the_tables(
    slurm: None, cohort: Cohort, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = [str(cohort.root), "--weights", weights, "--out", str(out), "--step", "60", "--store", "none"]
    array = arrayed("embed", *command)
    for number in (1, 2):
        assert array.missing == list(range(number, 3))
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", str(number))
        assert ArrayTask(array.markers, array.count, [array.kind, *array.arguments]).run() == 0
    assert array.missing == []
    done = {path: path.stat().st_mtime_ns for path in (out / "summaries").iterdir()}
    assert {path.stem for path in done} == set(cohort.recordings())
    assert not (out / "people.parquet").exists()
    assert main(list(array.verification)) == 0
    assert (out / "people.parquet").exists()
    assert {path: path.stat().st_mtime_ns for path in (out / "summaries").iterdir()} == done


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["embed", "IN", "--weights", "w", "--out", "o"], "make it from device files with harnet submit ingest"),
        (["quality", "STORE", "--out", "o", "--part", "1/2"], "each array task gets its own"),
        (["predict", "STORE", "--weights", "w", "--out", "o", "--part", "1/2"], "each array task gets its own"),
    ],
)
def test_what_cannot_be_divided_is_told(
    slurm: None, cohort: Cohort, tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"IN": str(tmp_path), "STORE": str(cohort.root), "o": str(tmp_path / "o")}
    assert main(["submit", *(places.get(each, each) for each in arguments)]) == 1
    assert said in capsys.readouterr().err
