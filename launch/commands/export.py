"""`harnet export`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from harnet.encoder import find_architecture
from harnet.weights.bundle import save
from harnet.weights.config import BundleConfig
from pretrain import checkpoint, log
from pretrain.checkpoint import Checkpoint


@dataclass(frozen=True)
class Command:
    """Make a folder of weights from the newest complete checkpoint of a run: what downstream teams load.

    It holds model.safetensors, config.json, a model card, hubconf.py and checksums, and needs no network to be used.

    Example: harnet export runs/first --out weights
    """

    run_folder: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run folder of `harnet pretrain`."""
    out: Path
    """Folder of weights to write; one that holds weights already is replaced."""
    data_use_terms: str = ""
    """What the owner of the data allows to be done with weights trained on them; goes into the model card."""
    json: bool = False
    """Print where it is as JSON."""

    def run(self) -> int:
        """Export and say how to load it."""
        newest = checkpoint.find(self.run_folder)
        config = bundle_config(newest, heldout_metrics(self.run_folder, newest.step), self.data_use_terms)
        folder = save(self.out, newest.network(), config)
        if self.json:
            print(json.dumps({"weights": str(folder), "step": newest.step}))
        else:
            print(f"{folder}: {config.architecture} after {newest.step} steps")
            print(f'load it with: python -c "import harnet; encoder = harnet.load_encoder({str(self.out)!r})"')
        return 0


def heldout_metrics(run: Path, step: int) -> dict[str, float]:
    """The last held-out metrics that a run logged up to a step."""
    rows = [row for row in log.read(run) if row["kind"] == "heldout" and row["step"] <= step]
    return {name: value for name, value in rows[-1].items() if name not in ("kind", "step")} if rows else {}


def bundle_config(source: Checkpoint, heldout: dict[str, float], data_use_terms: str = "") -> BundleConfig:
    """What a bundle says of itself, from what the checkpoint says; no participant is named in either."""
    about: dict[str, Any] = dict(source.about)
    config, provenance = about["config"], dict(about["provenance"])
    architecture = find_architecture(config["model"]["architecture"])
    preprocessing = {name: str(value) for name, value in provenance.pop("preprocessing").items()}
    revision = provenance.pop("git_revision")
    return BundleConfig(
        architecture=architecture.name,
        window_seconds=architecture.seconds,
        normalisation="standardised window" if config["model"]["standardise"] else "none",
        preprocessing=preprocessing,
        manifest_digest=about["manifest_digest"],
        training_steps=source.step,
        git_revision=revision,
        provenance=provenance
        | {
            "tasks": ", ".join(config["multitask"]["tasks"]),
            "seed": config["run"]["seed"],
            "batch": config["data"]["batch"],
            "windows_drawn": source.step * config["data"]["batch"],
            "heldout": heldout,
        },
        data_use_terms=data_use_terms,
    )
