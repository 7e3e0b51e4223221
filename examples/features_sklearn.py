"""For a methods person: frozen features and scikit-learn, people never split between training and test.

    python examples/features_sklearn.py labelled/ --weights weights

`labelled/` holds X.npy (N, 3, L) in g at 30 Hz, Y.npy labels and pid.npy wearers.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import harnet


def features(weights: str, windows: np.ndarray) -> np.ndarray:
    """(N, F) of windows (N, 3, L) in g; refused if they are in other units or of another length."""
    encoder = harnet.load_encoder(weights)
    harnet.check_windows(windows, encoder.architecture.name)
    with torch.inference_mode():
        parts = [encoder(part).flatten(1) for part in torch.from_numpy(windows.astype(np.float32)).split(256)]
    return torch.cat(parts).numpy()


def main() -> None:
    """Print macro F1 of each fold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--folds", type=int, default=5)
    options = parser.parse_args()
    windows, labels, people = (np.load(options.labelled / f"{name}.npy") for name in ("X", "Y", "pid"))
    found = features(options.weights, windows)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced"))
    scores = cross_val_score(model, found, labels, groups=people, cv=GroupKFold(options.folds), scoring="f1_macro")
    print(f"{found.shape[1]} features, {len(set(people.tolist()))} people, macro F1 of each fold: "
          f"{', '.join(f'{score:.3f}' for score in scores)}; mean {scores.mean():.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
