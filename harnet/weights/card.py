"""The model card, README.md of a bundle; generated from the bundle's config so that the two always agree."""

from collections.abc import Collection
from typing import Any

from harnet.encoder import PUBLISHED_WIDTH, find_architecture
from harnet.weights.bundle_config import BundleConfig

_FORMATS = {
    "onnx": "\n`model.onnx`: the same in ONNX, input `windows` (N, 3, L), any N.\n",
    "torch-export": "\n`model.pt2`: the same for `torch.export.load`, any N. Load such a file "
    "only from sources that you trust.\n",
    "published": "\n`torch_hub/`: a torch.hub folder that needs only torch and numpy. stepcount, actinet and asleep "
    "use a copy of it at `<package>/torch_hub_cache/ssl-wearables_v1.0.0`.\n",
}
"""Format -> its paragraph in the card."""


def model_card(config: BundleConfig, formats: Collection[str] = ()) -> str:
    """Markdown for readers who do not know this project; `formats` are the optional formats in the bundle."""
    sections = [_front_matter(config), _opening(config), _use(config, formats), _input(config), _training(config),
                _results(config), _limits(config), _terms(config), _integrity()]  # fmt: skip
    return "\n".join(section for section in sections if section)


def _front_matter(config: BundleConfig) -> str:
    """YAML front matter for the Hugging Face Hub. The licence is whatever the owner of the training data set."""
    task = "time-series-classification" if config.classes else "feature-extraction"
    tags = "\n".join(f"- {tag}" for tag in ("accelerometer", "wearables", "human-activity-recognition", task))
    return f"---\nlibrary_name: harnet\nlicense: other\nlicense_name: see-data-use-terms\ntags:\n{tags}\n---\n"


def _opening(config: BundleConfig) -> str:
    architecture = find_architecture(config.architecture, config.width)
    features = architecture.features
    if config.encoder:
        return (
            f"# {config.name or config.architecture}\n\nA linear classifier on features of {config.encoder} and "
            "handcrafted features: it classifies windows of wrist acceleration as one of: "
            f"{', '.join(config.classes)}.\n"
        )
    if config.classes:
        what = f"classifies windows of wrist acceleration as one of: {', '.join(config.classes)}"
    else:
        what = f"turns a window of wrist acceleration into {features} features"
    size = "" if config.width == PUBLISHED_WIDTH else f" ({config.architecture} of width {config.width})"
    return f"# {config.name or config.architecture}\n\nA convolutional network{size} that {what}.\n"


def _use(config: BundleConfig, formats: Collection[str]) -> str:
    source = config.name or "FOLDER"
    if config.classes:
        lines = ["from harnet.weights.load import load_classifier", f'model, classes = load_classifier("{source}")']
    else:
        model = f'"{config.name}", num_classes=5' if config.name else (
            f'"{config.architecture}", num_classes=5, weights="FOLDER"')  # fmt: skip
        lines = ["import harnet", f'encoder = harnet.load_encoder("{source}")', f"model = harnet.create_model({model})"]
    body = "\n".join(lines)
    place = "they come with it" if config.name else "with this folder's path in place of FOLDER"
    start = f"## Use\n\n`pip install harnet`, then, {place}:\n\n```python\n{body}\n```\n\n"
    if config.encoder:
        return f"{start}On recordings: `harnet predict recording.cwa`.\n"
    return (
        f"{start}The folder is also a torch.hub folder: "
        f'`torch.hub.load("FOLDER", "{config.architecture}", source="local", pretrained=True, class_num=5)`.\n'
        + "".join(_FORMATS[name] for name in formats)
    )


def _input(config: BundleConfig) -> str:
    length = config.window_seconds * config.sampling_rate
    rows = {
        "Shape": f"(N, 3, {length}): {config.window_seconds} s at {config.sampling_rate} Hz, float32",
        "Units": f"{config.units}, gravity included",
        "Normalisation inside the model": config.normalisation,
        **({"Stored as": "float16, loaded as float32"} if config.stored == "float16" else {}),
        **config.preprocessing,
    }
    return f"## Input\n\n{_table(rows)}"


def _training(config: BundleConfig) -> str:
    rows = {
        "Optimiser steps": config.training_steps,
        "Shard manifest": config.manifest_digest or "none",
        "Code revision": config.git_revision or "unknown",
        **{name: value for name, value in config.provenance.items() if name != "benchmarks"},
    }
    return f"## Training\n\n{_table(rows)}\n"


def _results(config: BundleConfig) -> str:
    scores = config.provenance.get("benchmarks")
    if not isinstance(scores, dict):
        return "## Benchmarks\n\nNone were run, or none were supplied when this folder was exported.\n"
    return f"## Benchmarks\n\nTested on held-out people, who were never in the training set.\n\n{_table(scores)}"


def _limits(config: BundleConfig) -> str:
    """Limitations that follow from the config; unknown facts are stated as unknown."""
    people, days = (config.provenance.get(name) for name in ("people", "person_days"))
    seen = f"{people:,} people" if type(people) is int else "an unknown number of people"
    if type(people) is int and type(days) is int:
        seen += f" and {days:,} person-days"
    lines = [
        f"Trained on {seen}. Performance on other age groups, diseases, wrists or devices is unknown: validate it on "
        "your own participants before you rely on it.",
        "Made for the wrist. Features of a hip, thigh or ankle signal are not comparable.",
        "The input must be as described above. If you pass windows yourself, another sampling rate, filter or unit "
        "gives wrong numbers and no error: `harnet.check_windows` detects the common mistakes.",
    ]
    if config.standardise and not config.encoder:
        lines.append("Each window is standardised inside the model: the features do not contain posture (the direction "
                     "of gravity) nor, except near stillness, the intensity of a movement.")  # fmt: skip
    if not config.classes:
        lines.append("The features have no meaning on their own; scores on pretext tasks do not predict performance on "
                     "your task.")  # fmt: skip
    lines.append("Not a medical device.")
    return "## Limits\n\n" + "".join(f"- {line}\n" for line in lines)


def _terms(config: BundleConfig) -> str:
    return f"## Data-use terms\n\n{config.data_use_terms or 'None were stated when this folder was exported.'}\n"


def _integrity() -> str:
    return "## Integrity\n\n`sha256sum -c SHA256SUMS` checks every file; the loader checks the files it reads.\n"


def _table(rows: dict[str, Any]) -> str:
    lines = ["| | |", "|---|---|"]
    for name, value in rows.items():
        shown = ", ".join(f"{k} {_cell(v)}" for k, v in value.items()) if isinstance(value, dict) else _cell(value)
        lines.append(f"| {_cell(name).replace('_', ' ')} | {shown} |")
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
