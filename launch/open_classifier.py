"""Puts an encoder into the package, and the activity classifier on it with its figures.

The figures are computed when the classifier is fitted, and written to its card, README.md and docs/open-weights.md,
so that they always belong to the packaged weights.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from harnet.evaluation import activity
from harnet.evaluation.activity import Activities, Scores
from harnet.evaluation.figures_block import refresh
from harnet.linear_probe import feature_count
from harnet.progress import bar
from harnet.weights.bundle import save
from harnet.weights.bundle_config import BundleConfig
from harnet.weights.contract import ENCODER_PREFIX
from harnet.weights.load import Bundle, build_encoder, read_bundle
from harnet.weights.packaged import FOLDER

ENCODER = "harnet10-open"
ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "open-weights.md")
"""Documents that contain the figures of the packaged classifier."""
_TERMS = (
    "Learnt from selfBACK (UCI 521) and Daily and Sports Activities (UCI 256), both CC BY 4.0, on {encoder}. {terms}"
)


def package(weights: Path, labelled: Path, into: Path = FOLDER, documents: tuple[Path, ...] = DOCUMENTS) -> None:
    """Write the encoder in `weights`, and a classifier fitted to the data sets in `labelled`, to the folder `into`."""
    given = read_bundle(weights)
    kept = {name: tensor for name, tensor in given.state.items() if name.startswith(ENCODER_PREFIX)}
    save(into / ENCODER, kept, replace(given.config, name=ENCODER, stored="float16"))
    bundle = read_bundle(into / ENCODER)
    torch.set_num_threads(1)  # sums are split by thread; one thread makes the classifier bit-identical
    found = activity.read(labelled, build_encoder(bundle).eval())
    with bar(activity.FOLDS + len(activity.LABELS), "evaluation", "fit") as shown:
        scores = activity.evaluate(found, on_fit=shown.update)
    weight, bias = activity.fit(found)
    state = {"linear.weight": torch.from_numpy(weight).float(), "linear.bias": torch.from_numpy(bias).float()}
    assert weight.shape == (len(activity.CLASSES), feature_count(build_encoder(bundle).architecture))
    save(into / activity.NAME, state, described(bundle, found, scores))
    print(f"{into}: {ENCODER} and {activity.NAME}")
    for line in (lines := figures(scores)):
        print(line)
    for document in documents:
        refresh(document, activity.NAME, lines)


def described(encoder: Bundle, found: Activities, scores: Mapping[str, Scores]) -> BundleConfig:
    """Configuration of the classifier's bundle."""
    people = sorted(set(found.people.tolist()))
    facts = {
        "people": len(people),
        "windows": len(found.labels),
        "penalty": activity.STRENGTH,
        "data": hashlib.sha256(found.turned.tobytes() + found.labels.tobytes()).hexdigest()[:16],
        "benchmarks": {name: score_text(score) for name, score in scores.items()},
    }
    before = encoder.config
    return replace(
        before,
        name=activity.NAME,
        classes=activity.CLASSES,
        encoder=ENCODER,
        encoder_digest=encoder.digest,
        stored="float32",
        provenance=facts,
        data_use_terms=_TERMS.format(encoder=ENCODER, terms=before.data_use_terms).strip(),
    )


def score_text(score: Scores) -> str:
    """One result as a line of text."""
    by_class = ", ".join(f"{_shown(name)} {f1:.2f}" for name, f1 in zip(activity.CLASSES, score.classes, strict=True))
    both = score.macro_f1
    return (
        f"macro F1 {both.mean:.2f} [{both.low:.2f}, {both.high:.2f}] over {both.people} people (handcrafted features "
        f"alone {score.handmade.mean:.2f}); F1 of {by_class}"
    )


def figures(scores: Mapping[str, Scores]) -> list[str]:
    """The scores as a Markdown table."""
    classes = [_shown(name) for name in activity.CLASSES]
    lines = [
        f"| tested on | macro F1 [95 %] | handcrafted features alone | {' | '.join(classes)} |",
        f"|---|---|---|{'---|' * len(classes)}",
    ]
    for name, score in scores.items():
        both = score.macro_f1
        cells = [name, f"{both.mean:.2f} [{both.low:.2f}, {both.high:.2f}]", f"{score.handmade.mean:.2f}"]
        lines.append(f"| {' | '.join([*cells, *(f'{f1:.2f}' for f1 in score.classes)])} |")
    return lines


def _shown(name: str) -> str:
    return name.replace("_", " ")
