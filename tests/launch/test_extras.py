"""An extra contains the packages that its commands import, even if the import is inside a function."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from launch.cli import COMMANDS

ROOT = Path(__file__).parents[2]
OURS = ("harnet", "data_shards", "pretrain", "launch")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OLD = ("cli", "ingest", "quality", "shards", "pretrain", "remote", "slurm", "evaluate", "hub", "transfer", "use")
# Optional imports: if one is missing, its own error names the extra.
ON_REQUEST = {
    "harnet/weights/graphs.py": {"onnx", "onnxruntime", "onnxscript"},
    "harnet/weights/model_hub.py": {"huggingface_hub"},
    "data_shards/stream/remote.py": {"tenacity"},
}


@cache
def distributions(extra: str) -> frozenset[str]:
    """Names of the packages that an extra requires, including those of nested extras."""
    found = set()
    for requirement in EXTRAS[extra]:
        name = re.match(r"[\w.-]+", requirement)[0].lower()
        inner = re.match(r"harnet\[(.*)\]", requirement)
        found |= {name} if inner is None else set().union(*map(distributions, inner[1].split(",")))
    return frozenset(found)


def source(module: str) -> Path | None:
    path = ROOT / module.replace(".", "/")
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.exists()), None)


@cache
def imports(file: Path) -> frozenset[str]:
    """Modules, and names from them, imported by any statement of a file, except those under TYPE_CHECKING."""
    found: set[str] = set()
    remaining: list[ast.AST] = [ast.parse(file.read_text())]
    while remaining:
        node = remaining.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        remaining += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def packages(module: str) -> dict[str, str]:
    """Third-party package -> a file of ours that imports it, over all files that a module can reach."""
    found: dict[str, str] = {}
    remaining, seen = [module], set[str]()
    while remaining:
        name = remaining.pop()
        if name in seen or (file := source(name)) is None:
            continue
        seen.add(name)
        for imported in imports(file):
            words = imported.split(".")
            if words[0] in OURS:
                remaining += [".".join(words[: length + 1]) for length in range(len(words))]
            elif words[0] not in sys.stdlib_module_names:
                relative = str(file.relative_to(ROOT))
                if words[0] not in ON_REQUEST.get(relative, ()):
                    found[words[0]] = relative
    return found


def missing(module: str, extra: str | None) -> dict[str, str]:
    """Packages that a module imports and that come neither with the extra nor with a plain `pip install harnet`."""
    base = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in PROJECT["dependencies"]}
    there = base | (distributions(extra) if extra else set())
    of = packages_distributions()
    # Dependencies of jinja2 and scikit-learn.
    brought = {"markupsafe", "threadpoolctl"}
    return {
        name: file
        for name, file in packages(module).items()
        if name not in brought and not there & {each.lower().replace("_", "-") for each in of.get(name, [name])}
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_an_extra_has_what_its_commands_import(name: str) -> None:
    extra = COMMANDS[name][0]
    assert extra in ("data", "train", "apply")
    assert missing(f"launch.commands.{name}", extra) == {}


def test_a_command_that_imports_another_package_is_found_out() -> None:
    assert missing("launch.commands.evaluate", "data")["sklearn"].startswith("harnet/")


@pytest.mark.parametrize(
    ("module", "extra"),
    [
        ("pretrain.__main__", "train"),
        ("launch.job", "train"),
        ("launch.task", "train"),
        ("launch.demo", "demo"),
        ("launch.open_weights", "demo"),
        ("data_shards.stream.third_party", "data"),
        ("harnet.evaluation.attribution", "interpret"),
        ("harnet.evaluation.feature_map", "interpret"),
        ("harnet", None),
        ("harnet.weights.load", None),
        ("harnet.heads", None),
    ],
)
def test_so_has_what_runs_without_a_command(module: str, extra: str | None) -> None:
    assert source(module) is not None
    assert missing(module, extra) == {}


def test_an_extra_that_a_text_names_exists() -> None:
    named = {}
    files = [ROOT / name for name in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()]
    for file in files:
        if file.suffix in (".py", ".md", ".def", ".sbatch", ".toml") and file.is_file() and file.name != "CHANGELOG.md":
            for names in re.findall(r"(?:harnet|'\.|/src)\[([a-z_,]+)\]", file.read_text()):
                named |= dict.fromkeys(names.split(","), file.name)
    assert {name: file for name, file in named.items() if name not in (*EXTRAS, "extra") or name in OLD} == {}
    assert {"data", "train", "apply", "all"} <= named.keys()


def test_old_names_of_extras_bring_what_they_did() -> None:
    for name in OLD:
        assert {"tyro", "tqdm"} <= distributions(name)
    assert "submitit" in distributions("slurm")
    assert "s3fs" in distributions("remote")
    assert "zarr" in distributions("shards")
    assert "threadpoolctl" in distributions("evaluate")
