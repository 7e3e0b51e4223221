"""Release artefacts: a wheel built from the sdist and installed alone is the same program as a checkout."""

import hashlib
import importlib.metadata
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tracked files only, so that untracked files of a checkout do not get into the build."""
    tree = tmp_path_factory.mktemp("dist") / "tree"
    for name in run("git", "ls-files", "-z", folder=ROOT).split("\0"):
        if name and (ROOT / name).exists():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    return tree


@pytest.fixture(scope="module")
def built(tree: Path) -> Path:
    """A folder with an sdist and a wheel built from it."""
    out = tree.parent / "built"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, tree, folder=tree.parent)
    return out


def contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


def test_the_wheel_of_the_sdist_is_the_wheel_of_the_checkout(built: Path, tree: Path) -> None:
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tree.parent / "straight", tree,
        folder=tree.parent)  # fmt: skip
    (wheel,) = built.glob("*.whl")
    found = contents(wheel)
    assert found == contents(tree.parent / "straight" / wheel.name)
    for name in ("launch/site/pretrain.sbatch", "launch/site/profiles/gpu.toml", "pretrain/configs/harnet10.toml"):
        assert name in found
    assert {name.split("/")[0] for name in found} == {"harnet", "data_shards", "pretrain", "launch", _info(wheel)}


def _info(wheel: Path) -> str:
    return "-".join(wheel.name.split("-")[:2]) + ".dist-info"


def test_the_sdist_has_what_readme_and_tests_refer_to(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    tracked = {name for name in run("git", "ls-files", "-z", folder=ROOT).split("\0") if name}
    kept_back = {".gitignore", ".pre-commit-config.yaml", "launch/site"}
    assert tracked - found - kept_back == set()


def test_installed_alone_it_runs_and_finds_its_files(built: Path) -> None:
    home = built.parent / "environment"
    venv.create(home)
    python = home / "bin" / "python"
    # Dependencies come from the environment of the tests; only our package is installed.
    (site,) = home.glob("lib/python*/site-packages")
    needed = ("torch", "numpy", "safetensors", "fsspec", "tyro", "tqdm")
    shared = {str(importlib.metadata.distribution(name).locate_file("")) for name in needed}
    (site / "shared.pth").write_text("\n".join(sorted(shared)))
    (wheel,) = built.glob("*.whl")
    install = ("-m", "pip", "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(sys.executable, *install, folder=built.parent)

    harnet = home / "bin" / "harnet"
    version = importlib.metadata.version("harnet")
    assert run(harnet, "--version", folder=built.parent) == f"harnet {version}\n"
    assert "  pretrain " in run(harnet, "--help", folder=built.parent)
    for name, file in (("harnet10", "pretrain/configs/harnet10.toml"), ("shard.sbatch", "slurm/shard.sbatch")):
        assert run(harnet, "template", name, folder=built.parent) == (ROOT / file).read_text()
    program = """
import data_shards, harnet, launch, pretrain
from pretrain.command import Command
options = Command.parse("x", ["--config", "harnet10", "--data.shards", "s", "--run.out", "r"]).options
print(options.data.batch, len(harnet.create_model("harnet5", num_classes=2).state_dict()) > 100)
print(*(module.__file__ for module in (data_shards, harnet, launch, pretrain)), sep="\\n")
"""
    said, *files = run(python, "-c", program, folder=built.parent).splitlines()
    assert said == "64 True"
    assert all(file.startswith(str(site)) for file in files)
