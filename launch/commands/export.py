"""`harnet export`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import Tensor

from harnet.encoder import PUBLISHED_WIDTH, find_architecture
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS
from harnet.weights.bundle import save
from harnet.weights.config import BundleConfig
from harnet.weights.contract import ENCODER_PREFIX
from pretrain import checkpoint, log
from pretrain.checkpoint import Checkpoint


@dataclass(frozen=True)
class Command:
    """Make a folder of weights from a complete checkpoint of a run, the newest: what downstream teams load.

    It holds model.safetensors, config.json, a model card, hubconf.py and checksums, and needs no network to be used.

    Example: harnet export runs/first --out weights
    """

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder of `harnet pretrain`."""
    out: Path
    """Folder of weights to write; one that holds weights already is replaced."""
    best: bool = False
    """Take the checkpoint with the lowest held-out loss; runs with run.patience keep it."""
    average: bool = False
    """Take the moving average of the weights, of runs with optimizer.ema_decay."""
    data_use_terms: str = ""
    """What the owner of the data allows to be done with weights trained on them; goes into the model card."""
    json: bool = False
    """Print where it is as JSON."""

    def run(self) -> int:
        """Export and say how to load it."""
        found = checkpoint.find(self.run_folder, best_step(self.run_folder) if self.best else None)
        state = averaged(found) if self.average else found.network()
        heldout = heldout_metrics(self.run_folder, found.step, self.average)
        config = bundle_config(found, heldout, self.average, self.data_use_terms)
        folder = save(self.out, publishable(state), config)
        if self.json:
            print(json.dumps({"weights": str(folder), "step": found.step}))
        else:
            print(f"{folder}: {config.architecture} after {found.step} steps")
            print(f'load it with: python -c "import harnet; encoder = harnet.load_encoder({str(self.out)!r})"')
        return 0


def best_step(run: Path) -> int:
    """The step of the lowest held-out loss that a run has logged; the first of them if there are several.

    Raises:
        HarnetError: it has logged none.
    """
    rows = [row for row in log.read(run) if row["kind"] == "heldout"]
    if not rows:
        raise HarnetError(f"{run}: no held-out loss in its log, so no step is the best; leave --best out")
    return int(min(rows, key=lambda row: row["loss"])["step"])


def averaged(source: Checkpoint) -> dict[str, Tensor]:
    """State dict of the moving average.

    Raises:
        HarnetError: the run keeps none.
    """
    state = source.tensors(checkpoint.AVERAGE)
    if state is None:
        raise HarnetError(f"{source.path}: keeps no moving average (optimizer.ema_decay is 0); leave --average out")
    return state


def publishable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What belongs into weights: encoder and pretext heads. What other objectives put on the encoder stays behind."""
    kept = (ENCODER_PREFIX, *(f"{head}." for head in PRETEXT_HEADS.values()))
    return {name: tensor for name, tensor in state.items() if name.startswith(kept)}


def heldout_metrics(run: Path, step: int, average: bool) -> dict[str, float]:
    """The last held-out metrics that a run logged up to a step, of its weights or of their moving average."""
    rows = [row for row in log.read(run) if row["kind"] == "heldout" and row["step"] <= step]
    values = {name: value for name, value in rows[-1].items() if name not in ("kind", "step")} if rows else {}
    of_average = {name.removeprefix("ema/"): value for name, value in values.items() if name.startswith("ema/")}
    return of_average if average else {name: values[name] for name in values if not name.startswith("ema/")}


def bundle_config(
    source: Checkpoint, heldout: dict[str, float], average: bool = False, data_use_terms: str = ""
) -> BundleConfig:
    """What a bundle says of itself, from what the checkpoint says; no participant is named in either."""
    about: dict[str, Any] = dict(source.about)
    config, provenance = about["config"], dict(about["provenance"])
    model = config["model"]
    width = model.get("width", PUBLISHED_WIDTH)
    architecture = find_architecture(model["architecture"], width)
    preprocessing = {name: str(value) for name, value in provenance.pop("preprocessing").items()}
    revision = provenance.pop("git_revision")
    options = config[provenance["objective"]]
    return BundleConfig(
        architecture=architecture.name,
        window_seconds=architecture.seconds,
        normalisation="standardised window" if model["standardise"] else "none",
        width=width,
        preprocessing=preprocessing,
        manifest_digest=about["manifest_digest"],
        training_steps=source.step,
        git_revision=revision,
        provenance=provenance
        | {
            "objective options": {name: _text(value) for name, value in options.items()},
            "seed": config["run"]["seed"],
            "batch": config["data"]["batch"],
            "windows_drawn": source.step * config["data"]["batch"],
            "heldout": heldout,
        }
        | ({"moving average with decay": config["optimizer"]["ema_decay"]} if average else {}),
        data_use_terms=data_use_terms,
    )


def _text(value: Any) -> Any:
    """A bundle takes no lists."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value
