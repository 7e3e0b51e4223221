"""Run by the interpreter whose path holds stepcount, actinet and asleep: build their models with our weights.

    python build_models.py TOOL HUB_FOLDER OUT

calls the function with which the tool builds a pretrained model, and saves the state dict that it then holds.
"""

import importlib
import shutil
import sys
import types
from pathlib import Path
from typing import Any, ClassVar

import torch

NAME = "OxWearables_ssl-wearables_v1.0.0"
"""What the tools look for: a folder whose name contains `ssl-wearables` and `v1.0.0`."""


WANTED = {"torchvision", "transforms3d", "actipy", "hydra", "omegaconf", "imblearn", "tensorboard"}
"""Imported by these tools at the top of their files; to build a model they use torchvision's `Compose` at most."""


class StandIn(types.ModuleType):
    """A module that has every name, for packages that are imported at the top and not used to build a model."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class StandIns:
    """Finds a stand-in for packages that are not installed here, and writes down which."""

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
    sys.meta_path.append(StandIns())  # last: what is installed comes first
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
