"""`harnet export`: a training run, or an older checkpoint, → a folder of weights to use and publish."""

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
    """Make a folder of weights that downstream teams load, from a training run or from weights of another form.

    It holds model.safetensors, config.json, a model card, hubconf.py and checksums, and needs no network to be used.
    --formats adds an ONNX file, a torch.export program, and the torch.hub folder that stepcount, actinet and asleep
    look for.

    Example:
        harnet export runs/first --out weights --which best --formats onnx published
        harnet export mtl_best.mdl --out weights
    """

    source: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder of `harnet pretrain`; or a published checkpoint (.mdl), a folder of weights, or a packaged model."""
    out: Path
    """Folder of weights to write; one that holds weights already is replaced."""
    which: str = "last"
    """Of a run's checkpoints: last, best (lowest held-out loss of those kept), or step-N."""
    ema: bool = False
    """Take the moving average of the weights, if the run kept one (--optimizer.ema-decay)."""
    formats: tuple[Format, ...] = ()
    """What to write beside safetensors."""
    results: tuple[Path, ...] = ()
    """Folders of `harnet finetune` whose scores go into the model card."""
    half: bool = False
    """Store convolutions and linear layers as float16: half the size, and features equal to about three digits."""
    name: str = ""
    """Under which the weights will come with the package."""
    data_use_terms: str = ""
    """What the owner of the data allows to be done with weights trained on them; goes into the model card."""
    json: bool = False
    """Print where it is as JSON."""

    def run(self) -> int:
        """Export and say how to load it."""
        state, config = weights_to_export(self.source, self.which, self.ema)
        if self.results:
            config = with_benchmarks(config, self.results)
        if self.data_use_terms:
            config = replace(config, data_use_terms=self.data_use_terms)
        if self.half:
            config = replace(config, stored="float16")
        if self.name:
            config = replace(config, name=self.name)
        folder = save(self.out, state, config, self.formats)
        if self.json:
            print(json.dumps({"weights": str(folder), "step": config.training_steps}))
        else:
            print(f"{folder}: {config.architecture} after {config.training_steps} steps")
            print(f'load it with: python -c "import harnet; encoder = harnet.load_encoder({str(self.out)!r})"')
        return 0
