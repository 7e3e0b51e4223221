"""Published tools build their models with our weights, from the folder where they look for the published ones.

`make drop-in` installs the tools without their dependencies and runs these tests; otherwise they are skipped.
`build_models.py` names the stand-ins for packages that have no build for this version of torch.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harnet.encoder import ARCHITECTURES
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig
from harnet.weights.hub_folder import hub_folder

TOOLS = Path(__file__).parents[2] / ".dropin"
SCRIPT = Path(__file__).with_name("build_models.py")


@pytest.mark.parametrize(("tool", "architecture"), [("stepcount", "harnet10"), ("actinet", "harnet30"),
                                                    ("asleep", "harnet30")])  # fmt: skip
def test_a_tool_holds_our_encoder_after_it_built_its_model(tool: str, architecture: str, tmp_path: Path) -> None:
    if not (TOOLS / tool).is_dir():
        pytest.skip("needs the tools themselves: run `make drop-in`")
    torch.manual_seed(0)
    ours = PretextModel(architecture, standardise=True).state_dict()
    config = BundleConfig(architecture, ARCHITECTURES[architecture].seconds, "standardised window")
    for name, content in hub_folder(ours, config).items():
        path = tmp_path / "hub" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    shutil.copytree(TOOLS / tool, tmp_path / "site" / tool)
    # Run outside this repository: the weight folder must work without it.
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    command = [sys.executable, str(SCRIPT), tool, str(tmp_path / "hub"), str(tmp_path / "held.pt")]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    held = torch.load(tmp_path / "held.pt", weights_only=True)
    encoder = {name: tensor for name, tensor in ours.items() if name.startswith("feature_extractor.")}
    assert len(encoder) == 131
    for name, tensor in encoder.items():
        assert torch.equal(held[name], tensor), name
