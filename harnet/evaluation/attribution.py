"""Which samples of a window support a class: integrated gradients (Sundararajan et al., ICML 2017), using captum.

    python -m harnet.evaluation.attribution results/model labelled/adl --window 0 --out attribution.svg

Needs `pip install 'harnet[interpret]'` and a classifier, such as one saved by `harnet finetune`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from harnet.console import exit_with, guarded
from harnet.encoder import AXES, SAMPLING_RATE
from harnet.errors import HarnetError
from harnet.evaluation.drawing import check_picture, save_picture
from harnet.heads import ClassifierModel
from harnet.linear_probe import LinearProbe
from harnet.transfer.labelled_windows import read_windows
from harnet.weights.load import load_classifier

STEPS = 64


def attribute(model: ClassifierModel, window: NDArray[np.float32], target: int) -> NDArray[np.float32]:
    """Contribution (3, L) of each sample of a window (3, L) in g to the logit of class `target`.

    The baseline is a constant signal with the window's mean on each axis, so the attribution shows movement, not
    posture. The values sum to the difference between the logits of window and baseline, up to the integration error
    of `STEPS` steps.
    """
    from captum.attr import IntegratedGradients

    x = torch.from_numpy(window)[None]
    baseline = x.mean(dim=2, keepdim=True).expand_as(x).contiguous()
    found = IntegratedGradients(model.eval()).attribute(x, baseline, target=target, n_steps=STEPS)
    values: NDArray[np.float32] = found[0].detach().numpy()
    return values


def draw(window: NDArray[np.float32], values: NDArray[np.float32], title: str, path: Path) -> None:
    """Plot the three axes, blue where samples support the class and red where they oppose it, to an SVG or PNG file."""
    from matplotlib.figure import Figure

    seconds = np.arange(window.shape[1]) / SAMPLING_RATE
    largest = float(np.abs(values).max()) or 1.0
    figure = Figure(figsize=(9, 5), layout="constrained")
    for number, axes in enumerate(figure.subplots(AXES, 1, sharex=True)):
        axes.plot(seconds, window[number], color="#1f2933", linewidth=0.8)
        low, high = axes.get_ylim()
        colours = axes.imshow(
            values[number][None], extent=(0, float(seconds[-1]), low, high), aspect="auto", cmap="RdBu",
            vmin=-largest, vmax=largest, alpha=0.6, zorder=0,
        )  # fmt: skip
        axes.set(ylabel=f"{'xyz'[number]} (g)")
    axes.set(xlabel="seconds")
    figure.colorbar(colours, ax=figure.axes, label="for the class (blue), against it (red)")
    figure.suptitle(title)
    save_picture(figure, path)


def main() -> int:
    """Command line: attribution of one window of a labelled data set."""
    parser = argparse.ArgumentParser(prog="python -m harnet.evaluation.attribution", description=__doc__)
    parser.add_argument("model", help="folder of weights with a classifier")
    parser.add_argument("data", type=Path, help="folder of labelled windows")
    parser.add_argument("--window", type=int, default=0, help="index of the window, from 0")
    parser.add_argument("--out", type=Path, default=Path("attribution.svg"), help="SVG or PNG")
    arguments = parser.parse_args()
    check_picture(arguments.out)
    model, classes = load_classifier(arguments.model)
    if isinstance(model, LinearProbe):
        raise HarnetError(f"{arguments.model}: also uses handcrafted features, which have no gradient: pass a "
                          "model that harnet finetune saved")  # fmt: skip
    data = read_windows(arguments.data, model.feature_extractor.architecture.name)
    if not 0 <= arguments.window < len(data.windows):
        raise HarnetError(f"--window {arguments.window}: {arguments.data} has windows 0 to {len(data.windows) - 1}")
    window = data.windows[arguments.window]
    with torch.no_grad():
        predicted = int(model(torch.from_numpy(window)[None]).argmax())
    truth = data.classes[data.labels[arguments.window]]
    title = f"predicted {classes[predicted]}, true class {truth}"
    draw(window, attribute(model, window, predicted), title, arguments.out)
    print(f"{arguments.out}: window {arguments.window}, {title}")
    return 0


if __name__ == "__main__":
    exit_with(lambda: guarded("attribution", "interpret", main))
