"""`harnet export`: a training run, or an older checkpoint, → a folder of weights to use and publish."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import Tensor

from harnet.encoder import PUBLISHED_WIDTH, find_architecture
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS
from harnet.run_folder import AVERAGE, read_log
from harnet.weights.bundle import Format, save
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.bundle_files import CONFIG
from harnet.weights.contract import ENCODER_PREFIX
from harnet.weights.load import read_bundle
from harnet.weights.packaged import packaged
from harnet.weights.published import is_published
from pretrain import objectives
from pretrain.run import checkpoint
from pretrain.run.checkpoint import Checkpoint


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
        state, config = self._found()
        if self.results:
            scores = benchmark_scores(self.results)
            config = replace(config, provenance=config.provenance | {"benchmarks": scores})
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

    def _found(self) -> tuple[dict[str, Tensor], BundleConfig]:
        named = not self.source.exists() and packaged(str(self.source)) is not None
        if not (named or is_published(self.source) or (self.source / CONFIG).is_file()):
            taken = find_checkpoint(self.source, self.which, self.ema)
            state = taken.tensors(AVERAGE) if self.ema else taken.network()
            if state is None:
                raise HarnetError(f"{taken.path}: no moving average in it: the run kept none; leave --ema out")
            metrics = heldout_metrics(self.source, taken.step, self.ema)
            return publishable(state), bundle_config(taken, metrics, ema=self.ema)
        if self.which != "last" or self.ema:
            raise HarnetError(f"{self.source}: holds one set of weights: --which and --ema are for runs")
        bundle = read_bundle(str(self.source))
        if bundle.config.encoder:
            raise HarnetError(
                f"{self.source}: a linear classifier on the features of {bundle.config.encoder}: export that"
            )
        # Read, they are float32; and under another name than the package's they are somebody's own.
        return bundle.state, replace(bundle.config, stored="float32", name="")


def find_checkpoint(run: Path, which: str, ema: bool) -> Checkpoint:
    """The checkpoint of a run that `which` names; HarnetError if it is not there."""
    if which == "last":
        return checkpoint.find(run)
    there = {found.step: found for found in checkpoint.find_all(run)}
    if not there:
        return checkpoint.find(run)  # says so
    listed = ", ".join(f"step-{step}" for step in sorted(there))
    if match := re.fullmatch(r"step-(\d+)", which):
        if int(match[1]) not in there:
            raise HarnetError(f"{run}: no complete checkpoint {which}; there are: {listed}")
        return there[int(match[1])]
    if which != "best":
        raise HarnetError(f"--which {which!r}: one of last, best, step-N; there are: {listed}")
    metric = "ema/loss" if ema else "loss"
    rows = [row for row in read_log(run) if row["kind"] == "heldout" and row["step"] in there and metric in row]
    if not rows:
        raise HarnetError(f"{run}: no held-out {metric} at the step of a complete checkpoint ({listed}): choose one of "
                          "these with --which")  # fmt: skip
    return there[min(rows, key=lambda row: row[metric])["step"]]


def publishable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What belongs into weights: encoder and pretext heads. What other objectives put on the encoder stays behind."""
    kept = (ENCODER_PREFIX, *(f"{head}." for head in PRETEXT_HEADS.values()))
    # Where several objectives were trained together, the pretext heads lie deeper.
    state = {name.removeprefix("heads.multitask."): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in state.items() if name.startswith(kept)}


def heldout_metrics(run: Path, step: int, ema: bool = False) -> dict[str, float]:
    """The last held-out metrics that a run logged up to a step, of the weights or of their moving average."""
    rows = [row for row in read_log(run) if row["kind"] == "heldout" and row["step"] <= step]
    if not rows:
        return {}
    values = {name: value for name, value in rows[-1].items() if name not in ("kind", "step")}
    average = {name.removeprefix("ema/"): value for name, value in values.items() if name.startswith("ema/")}
    return average if ema else {name: value for name, value in values.items() if not name.startswith("ema/")}


def benchmark_scores(folders: tuple[Path, ...]) -> dict[str, str]:
    """One line for each arm of each experiment of `harnet finetune`; HarnetError if a folder holds none."""
    scores = {}
    for folder in folders:
        try:
            arms = json.loads((folder / "results.json").read_text())["arms"]
            for arm, found in arms.items():
                mean = found["summary"]
                scores[f"{folder.name}, {arm}"] = (
                    f"macro F1 {mean['macro_f1']:.3f} ± {mean['macro_f1_std']:.3f}, kappa {mean['kappa']:.3f} over "
                    f"{mean['people']} people held out"
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HarnetError(f"{folder}: no results.json of `harnet finetune` in it ({error})") from error
    return scores


def bundle_config(
    source: Checkpoint, heldout: dict[str, float], data_use_terms: str = "", ema: bool = False
) -> BundleConfig:
    """What a bundle says of itself, from what the checkpoint says; no participant is named in either."""
    metadata: dict[str, Any] = dict(source.metadata)
    config, provenance = metadata["config"], dict(metadata["provenance"])
    model = config["model"]
    width = model.get("width", PUBLISHED_WIDTH)
    architecture = find_architecture(model["architecture"], width)
    preprocessing = {name: str(value) for name, value in provenance.pop("preprocessing").items()}
    revision = provenance.pop("git_revision")
    return BundleConfig(
        architecture=architecture.name,
        window_seconds=architecture.seconds,
        normalisation="standardised window" if model["standardise"] else "none",
        width=width,
        preprocessing=preprocessing,
        manifest_digest=metadata["manifest_digest"],
        training_steps=source.step,
        git_revision=revision,
        provenance=provenance
        | {
            "objective options": _objective_options(config),
            "optimizer": {name: _text(value) for name, value in config["optimizer"].items()},
            "seed": config["run"]["seed"],
            "batch": config["data"]["batch"],
            "windows_drawn": source.step * config["data"]["batch"],
            "weights": "moving average of the steps" if ema else "of the last step",
            "heldout": heldout,
        },
        data_use_terms=data_use_terms,
    )


def _objective_options(config: dict[str, Any]) -> dict[str, Any]:
    """Of the objective that was trained; of several, each under the name of its own."""
    names = objectives.parse_objectives(config.get("objective", "multitask"))
    if len(names) == 1:
        return {name: _text(value) for name, value in config[names[0]].items()}
    weights = {"weights": _text(config["objective_weights"])} if config["objective_weights"] else {}
    return weights | {f"{one}.{name}": _text(value) for one in names for name, value in config[one].items()}


def _text(value: Any) -> Any:
    """A bundle takes no lists."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value
