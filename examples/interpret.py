"""For a methods person: what a model has learnt, in two pictures.

    python examples/interpret.py results/model labelled/ --window 10 --out pictures

`features.svg`: the features of labelled windows on a plane (UMAP), of these weights and of the same encoder freshly
drawn. `attribution.svg`: which samples of one window speak for the class that the model names (integrated gradients);
weights without a classifier have none. Needs `pip install 'harnet[interpret]'`.
"""

import argparse
from pathlib import Path

from harnet.encoder import SAMPLING_RATE
from harnet.evaluation import attribution, feature_map
from harnet.transfer.classifier_fit import predict
from harnet.transfer.labelled_windows import read_windows
from harnet.weights.load import load_classifier, read_bundle


def main() -> None:
    """Draw, and print what the pictures are of."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights")
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--window", type=int, default=0)
    parser.add_argument("--neighbours", type=int, default=feature_map.NEIGHBOURS)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bundle = read_bundle(options.weights)

    shown = feature_map.read_shown([options.labelled], bundle.config.architecture)
    rows = feature_map.compare(bundle, shown, options.neighbours)
    title = f"{len(shown.windows)} windows, {options.neighbours} neighbours"
    feature_map.draw(rows, shown, title, options.out / "features.svg")
    for row in rows:
        print(f"{row.name}: {row.agreement:.0%} of neighbours agree, {row.chance:.0%} by chance")

    if not bundle.config.classes:
        print("no attribution: these weights have no classifier; harnet finetune adds one")
        return
    model, classes = load_classifier(options.weights)
    data = read_windows(options.labelled, bundle.config.architecture)
    window, truth = data.windows[options.window], data.classes[data.labels[options.window]]
    named = int(predict(model, window[None])[0])
    values = attribution.attribute(model, window, named)
    title = f"window {options.window}, named {classes[named]}, was {truth}"
    attribution.draw(window, values, title, options.out / "attribution.svg")
    strongest = values.sum(axis=0).argmax() / SAMPLING_RATE
    print(f"{title}: most speaks for it at {strongest:.1f} s")


if __name__ == "__main__":
    main()
