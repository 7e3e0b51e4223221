"""`harnet export`: a training run, or a published checkpoint → a folder of weights to use and publish."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from harnet.transfer.benchmarks import with_benchmarks
from harnet.weights.bundle import Format, save
from pretrain.export import weights_to_export


@dataclass(frozen=True)
class Command:
    """Write a folder of weights for downstream use, from a training run or from weights in another format.

    It contains model.safetensors, config.json, a model card, hubconf.py and checksums, and can be used offline.
    --formats adds an ONNX file, a torch.export program, and the torch.hub folder that stepcount, actinet and asleep
    expect.

    Example:
        harnet export runs/first --out weights --which best --formats onnx published
        harnet export mtl_best.mdl --out weights
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder of `harnet pretrain`; or a published checkpoint (.mdl), a folder of weights, or a packaged model."""
    out: Path
    """Folder of weights to write; existing weights in it are replaced."""
    which: str = "last"
    """Checkpoint of the run: last, best (lowest held-out loss among those kept), or step-N."""
    ema: bool = False
    """Export the moving average of the weights, if the run kept one (--optimizer.ema-decay)."""
    formats: tuple[Format, ...] = ()
    """Additional formats beside safetensors."""
    results: tuple[Path, ...] = ()
    """Folders of `harnet finetune` whose scores go into the model card."""
    half: bool = False
    """Store convolutions and linear layers as float16: half the size; features agree to about three digits."""
    data_use_terms: str = ""
    """Terms of the data's owner for the use of weights trained on them; goes into the model card."""
    json: bool = False
    """Print the path as JSON."""

    def run(self) -> int:
        """Export and say how to load it."""
        state, config = weights_to_export(self.source, self.which, self.ema)
        if self.results:
            config = with_benchmarks(config, self.results)
        if self.data_use_terms:
            config = replace(config, data_use_terms=self.data_use_terms)
        if self.half:
            config = replace(config, stored="float16")
        folder = save(self.out, state, config, self.formats)
        if self.json:
            print(json.dumps({"weights": str(folder), "step": config.training_steps}))
        else:
            print(f"{folder}: {config.architecture} after {config.training_steps} steps")
            print(f'load it with: python -c "import harnet; encoder = harnet.load_encoder({str(self.out)!r})"')
        return 0
