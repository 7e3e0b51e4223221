"""Build the models of stepcount, actinet and asleep with our weights; run by the interpreter that has these tools.

python build_models.py TOOL HUB_FOLDER OUT

calls the function with which the tool builds a pretrained model, and saves the resulting state dict.
"""

import importlib
import shutil
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import torch

NAME = "OxWearables_ssl-wearables_v1.0.0"
"""The tools look for a folder whose name contains `ssl-wearables` and `v1.0.0`."""


WANTED = {"torchvision", "transforms3d", "actipy", "hydra", "omegaconf", "imblearn", "tensorboard"}
"""Packages that the tools import at the top of their files; building a model needs at most torchvision's `Compose`."""


class StandIn(types.ModuleType):
    """A module that has every attribute, for packages that are imported but not used to build a model."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class StandIns:
    """Provide a stand-in for each package that is not installed, and record its name."""

    used: ClassVar[list[str]] = []

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] not in WANTED:
            return None
        self.used.append(name)
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: Any) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


def main() -> None:
    tool, folder, out = sys.argv[1:]
    sys.meta_path.append(StandIns())  # last: installed packages take precedence
    sslmodel = importlib.import_module(f"{tool}.sslmodel")
    cache = Path(sslmodel.torch_cache_path)
    shutil.rmtree(cache, ignore_errors=True)
    shutil.copytree(folder, cache / NAME)
    option = "pretrained_weights" if tool == "actinet" else "pretrained"
    model = sslmodel.get_sslnet(tag="v1.0.0", **{option: True})
    torch.save(model.state_dict(), out)
    print("stand-ins:", ", ".join(sorted(StandIns.used)) or "none")


if __name__ == "__main__":
    main()
