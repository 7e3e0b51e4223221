"""Turns the checkpoint of a run into the weights and configuration of a bundle, for `harnet export`."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from harnet.encoder import PUBLISHED_WIDTH, find_architecture
from harnet.errors import HarnetError
from harnet.heads import PRETEXT_HEADS
from harnet.run_folder import AVERAGE, read_log
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.bundle_files import CONFIG
from harnet.weights.contract import ENCODER_PREFIX
from harnet.weights.load import read_bundle
from harnet.weights.packaged import packaged
from harnet.weights.published import is_published
from pretrain import objectives
from pretrain.run import checkpoint
from pretrain.run.checkpoint import Checkpoint


def weights_to_export(source: Path, which: str, ema: bool) -> tuple[dict[str, Tensor], BundleConfig]:
    """State dict and configuration of a run's checkpoint, or of weights in another form.

    Args:
        source: run folder of `harnet pretrain`, a published checkpoint (.mdl), a folder of weights, or the name of
            a packaged model.
        which: checkpoint of a run: last, best or step-N.
        ema: use the moving average of a run's weights.

    Raises:
        HarnetError: there is no such checkpoint, or no moving average; or `which` or `ema` is given for weights.
    """
    named = not source.exists() and packaged(str(source)) is not None
    if not (named or is_published(source) or (source / CONFIG).is_file()):
        taken = find_checkpoint(source, which, ema)
        state = taken.tensors(AVERAGE) if ema else taken.network()
        if state is None:
            raise HarnetError(f"{taken.path}: contains no moving average: the run kept none; omit --ema")
        metrics = heldout_metrics(source, taken.step, ema)
        return publishable(state), bundle_config(taken, metrics, ema=ema)
    if which != "last" or ema:
        raise HarnetError(f"{source}: holds one set of weights: --which and --ema are for runs")
    bundle = read_bundle(str(source))
    if bundle.config.encoder:
        raise HarnetError(f"{source}: a linear classifier on the features of {bundle.config.encoder}: export that")
    # The tensors were read as float32; the name is cleared, since only the packaged bundle may use it.
    return bundle.state, replace(bundle.config, stored="float32", name="")


def find_checkpoint(run: Path, which: str, ema: bool) -> Checkpoint:
    """The checkpoint of a run that `which` selects (last, best or step-N); HarnetError if it does not exist."""
    if which == "last":
        return checkpoint.find(run)
    there = {found.step: found for found in checkpoint.find_all(run)}
    if not there:
        return checkpoint.find(run)  # raises with the reason
    listed = ", ".join(f"step-{step}" for step in sorted(there))
    if match := re.fullmatch(r"step-(\d+)", which):
        if int(match[1]) not in there:
            raise HarnetError(f"{run}: no complete checkpoint {which}; available: {listed}")
        return there[int(match[1])]
    if which != "best":
        raise HarnetError(f"--which {which!r}: must be last, best or step-N; available: {listed}")
    metric = "ema/loss" if ema else "loss"
    rows = [row for row in read_log(run) if row["kind"] == "heldout" and row["step"] in there and metric in row]
    if not rows:
        raise HarnetError(f"{run}: no held-out {metric} at the step of a complete checkpoint ({listed}): choose one of "
                          "these with --which")  # fmt: skip
    return there[min(rows, key=lambda row: row[metric])["step"]]


def publishable(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors to publish: encoder and pretext heads, without the heads of other objectives."""
    kept = (ENCODER_PREFIX, *(f"{head}." for head in PRETEXT_HEADS.values()))
    # With several objectives, the pretext heads are nested under heads.multitask.
    state = {name.removeprefix("heads.multitask."): tensor for name, tensor in state.items()}
    return {name: tensor for name, tensor in state.items() if name.startswith(kept)}


def heldout_metrics(run: Path, step: int, ema: bool = False) -> dict[str, float]:
    """The last held-out metrics logged up to `step`, of the weights or of their moving average; empty if none."""
    rows = [row for row in read_log(run) if row["kind"] == "heldout" and row["step"] <= step]
    if not rows:
        return {}
    values = {name: value for name, value in rows[-1].items() if name not in ("kind", "step")}
    average = {name.removeprefix("ema/"): value for name, value in values.items() if name.startswith("ema/")}
    return average if ema else {name: value for name, value in values.items() if not name.startswith("ema/")}


def bundle_config(
    source: Checkpoint, heldout: dict[str, float], data_use_terms: str = "", ema: bool = False
) -> BundleConfig:
    """The bundle's config, from the checkpoint's metadata; neither contains participant ids."""
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
    """Options of the objective; with several objectives, prefixed with their names."""
    names = objectives.parse_objectives(config.get("objective", "multitask"))
    if len(names) == 1:
        return {name: _text(value) for name, value in config[names[0]].items()}
    weights = {"weights": _text(config["objective_weights"])} if config["objective_weights"] else {}
    return weights | {f"{one}.{name}": _text(value) for one in names for name, value in config[one].items()}


def _text(value: Any) -> Any:
    """Lists as text, because a bundle's config must not contain lists."""
    return ", ".join(map(str, value)) if isinstance(value, list) else value
