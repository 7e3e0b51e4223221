"""The unit of work: one arm on one fold with one seed. Each has its own files, so a stopped suite loses one at most."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harnet.errors import HarnetError
from harnet.evaluation.arms import Inputs, Setting, SplitIndices, parts_of, run_arm
from harnet.evaluation.splits import Split
from harnet.files import atomic_path, write_atomically
from harnet.transfer.labelled_windows import LabelledWindows
from harnet.transfer.metrics import confusion, score_person
from harnet.transfer.supervised_loop import Fitted

EVERYBODY = "all"
PIECES = "pieces"


@dataclass(frozen=True)
class Budget:
    """The amount of labelled training data."""

    kind: str
    """"all", "people" or "windows"."""
    amount: float = 1.0
    """Number of people, or fraction of the windows of all training people."""

    def __str__(self) -> str:
        return self.kind if self.kind == EVERYBODY else f"{self.kind}-{self.amount:g}"


ALL = Budget(EVERYBODY)


@dataclass(frozen=True)
class Trial:
    """What to do."""

    dataset: str
    """Name of its folder."""
    protocol: str
    """Name of the protocol."""
    arm: str
    """One of `ARMS`."""
    seed: int
    """Seed of random parameters and of the order of windows."""
    fold: int
    """Index of the split."""
    budget: Budget = ALL
    """Labels to train with."""

    def path(self, out: Path) -> Path:
        """File of its result, below the output folder `out`."""
        extra = "" if self.budget == ALL else f"-{self.budget}"
        return out / PIECES / self.dataset / self.protocol / self.arm / f"seed{self.seed}-fold{self.fold}{extra}.json"

    def predictions(self, out: Path) -> Path:
        """File of its predictions: log-probabilities (n, classes) of the test windows, in the order of the data."""
        return self.path(out).with_suffix(".npy")

    def finished(self, out: Path) -> bool:
        """Whether both files exist; results of earlier versions have no predictions."""
        return self.path(out).exists() and self.predictions(out).exists()

    def stream(self) -> int:
        """Seed of everything random in the piece, the same for all arms."""
        return int(np.random.SeedSequence([self.seed, self.fold]).generate_state(1)[0])


def run_piece(
    piece: Trial, inputs: Inputs, split: Split, setting: Setting, out: Path, on_step: Callable[[], object]
) -> None:
    """Train and test one piece and write its files."""
    rows = choose_rows(inputs.data.people, split, piece)
    scores, fitted = run_arm(piece.arm, inputs, rows, setting, piece.stream(), on_step)
    _write(piece, scores, fitted, inputs.data, rows, split, out)


def fuse_pieces(piece: Trial, inputs: Inputs, split: Split, out: Path) -> None:
    """Write the files of a piece whose arm is in `FUSED`, from the predictions of its two parts."""
    parts = (replace(piece, arm=arm).predictions(out) for arm in parts_of(piece.arm))
    one, other = (np.load(path, allow_pickle=False) for path in parts)
    # The constant that would normalise it does not change which class is largest.
    _write(piece, (one + other) / 2, None, inputs.data, choose_rows(inputs.data.people, split, piece), split, out)


def _write(
    piece: Trial,
    scores: NDArray[np.float32],
    fitted: Fitted | None,
    data: LabelledWindows,
    rows: SplitIndices,
    split: Split,
    out: Path,
) -> None:
    """Write the log-probabilities, and how well they classify each tested person."""
    predicted, truth, people = scores.argmax(axis=1), data.labels[rows.test], data.people[rows.test]
    scored = []
    for person in split.test:
        own = people == person
        counts = confusion(truth[own], predicted[own], len(data.classes))
        scored.append({**asdict(score_person(person, truth[own], predicted[own])), "confusion": counts})
    result = {
        **asdict(piece),
        "budget": str(piece.budget),
        "train_people": len(set(data.people[rows.train].tolist())),
        "train_windows": len(rows.train),
        "training": asdict(fitted) if fitted else None,
        "people": scored,
    }
    piece.path(out).parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(piece.predictions(out)) as temporary, temporary.open("wb") as file:
        np.save(file, scores, allow_pickle=False)
    write_atomically(piece.path(out), json.dumps(result) + "\n")


def choose_rows(people: NDArray[np.str_], split: Split, piece: Trial) -> SplitIndices:
    """Which windows a piece learns from, stops by and is tested on.

    With a limited budget there are no validation people, since labelled people are too few to hold any out. With the
    same seed and fold, the people of a smaller budget are a subset of those of a larger one.
    """
    test = np.flatnonzero(np.isin(people, split.test))
    if piece.budget == ALL:
        train, validation = (np.flatnonzero(np.isin(people, part)) for part in (split.train, split.validation))
        return SplitIndices(train, validation, test)
    others = sorted([*split.train, *split.validation])
    random = np.random.default_rng([piece.seed, piece.fold, 1])
    if piece.budget.kind == "people":
        if piece.budget.amount > len(others):
            raise HarnetError(
                f"label-people {piece.budget.amount:g}: {piece.dataset} has only {len(others)} training people"
            )
        chosen = random.permutation(others)[: int(piece.budget.amount)]
        train = np.flatnonzero(np.isin(people, chosen))
    else:
        pool = random.permutation(np.flatnonzero(np.isin(people, others)))
        train = np.sort(pool[: max(1, round(piece.budget.amount * len(pool)))])
    return SplitIndices(train, np.empty(0, np.int64), test)


def read_pieces(out: Path) -> list[dict[str, Any]]:
    """All finished pieces, in the order of their names; HarnetError for one that is not whole."""
    found = []
    for path in sorted((out / PIECES).glob("*/*/*/seed*.json")):
        try:
            found.append(json.loads(path.read_text()))
        except ValueError as error:
            raise HarnetError(f"{path}: not JSON ({error}): delete it and run the same command again") from error
    return found
