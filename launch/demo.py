"""`make demo`: the whole pipeline, end to end, on the watch recordings in the seglearn package.

Every stage is the command that a user would type; it is printed before it runs. Pretraining runs for a few steps only.
The final comparison, with the labels of a few people, is between the weights that come with harnet, which were not
trained on these recordings, an untrained encoder, and handcrafted features.
"""

import json
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from data_shards.cohort.store import Cohort
from data_shards.layout import COUNTS_PER_G, RATE
from harnet.console import exit_with, guarded
from harnet.errors import HarnetError
from harnet.run_folder import read_log
from launch.stage import stage

FOLDER = Path("demo")
WEIGHTS = "harnet10-open"
SECONDS = 10
LABELLED_PEOPLE = (1, 2, 4)
ARMS = {
    "frozen-linear": f"{WEIGHTS}",
    "untrained-linear": "the same network, untrained",
    "handmade-linear": "handcrafted features",
}
"""Arm of `harnet evaluate` -> its label in the plot."""


def watch_file() -> Path:
    """Path of the recordings inside the installed seglearn package, without importing it."""
    try:
        found = distribution("seglearn").locate_file("seglearn/data/watch_dataset.npy")
    except PackageNotFoundError:
        raise HarnetError("the demo needs the recordings in seglearn: pip install 'harnet[demo]'") from None
    return Path(str(found))


def labelled_windows(cohort: Cohort, folder: Path) -> None:
    """Write everyone's windows with their exercise as the label, in the layout that `harnet evaluate` reads."""
    windows, labels, people = [], [], []
    for name in cohort.recordings():
        info = cohort.info(name)
        hour = cohort.read_hours(name, 0, 1)
        whole = hour.wear[: len(hour.wear) // SECONDS * SECONDS].reshape(-1, SECONDS).all(axis=1)
        for number in np.flatnonzero(whole).tolist():
            start = number * SECONDS * RATE
            windows.append(hour.accel[:, start : start + SECONDS * RATE] / np.float32(COUNTS_PER_G))
            labels.append(str(info.metadata["exercise"]))
            people.append(info.participant)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "X.npy", np.stack(windows).astype(np.float32))
    np.save(folder / "Y.npy", np.array(labels))
    np.save(folder / "pid.npy", np.array(people))
    print(f"{folder}: {len(windows)} windows of {len(set(people))} people, {len(set(labels))} exercises")


def picture(run: Path, tables: dict[int, dict[str, Any]], path: Path) -> None:
    """Plot the losses of the short pretraining, and macro F1 on unseen people against the number of labelled people."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    rows = read_log(run)
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained", width_ratios=(2, 3))
    for kind, label in (("train", "training people"), ("heldout", "held-out people")):
        curve = [(row["step"], row["loss"]) for row in rows if row["kind"] == kind]
        left.plot(*zip(*curve, strict=True), label=label)
    left.axhline(np.log(2), color="grey", linestyle=":", label="chance")
    left.set(title="A few steps of pretraining", xlabel="step", ylabel="cross-entropy", ylim=(0, 1.2))
    for place, (arm, label) in enumerate(ARMS.items()):
        scores = [next(row["macro_f1"] for row in table["arms"] if row["arm"] == arm) for table in tables.values()]
        middle = [score["mean"] for score in scores]
        spread = [[abs(score["mean"] - score[end]) for score in scores] for end in ("low", "high")]
        shifted = [place * 0.06 - 0.06 + number for number in range(len(tables))]
        right.errorbar(shifted, middle, yerr=spread, marker="o", capsize=3, color=f"C{place}", label=label)
    right.set(title="Exercises of held-out people", xlabel="people with labels", ylabel="macro F1", ylim=(0, 1))
    right.set_xticks(range(len(tables)), [str(people) for people in tables])
    for axis in (left, right):
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def conclusion(table: dict[str, Any], people: int) -> str:
    """Whether pretraining helps with the labels of this many people, judged by the interval of the difference."""
    row = next(row for row in table["differences"] if row["metric"] == "macro_f1"
               and {row["one"], row["other"]} == {"frozen-linear", "untrained-linear"})  # fmt: skip
    sign = 1 if row["one"] == "frozen-linear" else -1
    mean, low, high = sign * row["mean"], *sorted((sign * row["low"], sign * row["high"]))
    conclusion = "pretraining helps" if low > 0 else "pretraining hurts" if high < 0 else "inconclusive"
    return f"labels of {people}: {WEIGHTS} - untrained {mean:+.2f} [{low:+.2f}, {high:+.2f}]: {conclusion}"


def demo() -> int:
    """Run all stages in `demo/`; an interrupted demo resumes."""
    file, out = watch_file(), FOLDER
    cohort, shards, run, weights = out / "cohort.zarr", out / "shards", out / "run", out / "weights"
    out.mkdir(exist_ok=True)
    stage("ingest", file, "--out", cohort, title="device files -> 30 Hz cohort store")
    stage("shard", cohort, "--out", shards, "--quality", "none", title="cohort store -> shards and manifest")
    stage("verify", shards, title="verify every byte")
    stage("pretrain", "--config", "demo", "--data.shards", shards, "--run.out", run, title="pretraining, briefly")
    stage("export", run, "--out", weights, title="weights to publish")
    print("\n== labelled windows", flush=True)
    labelled_windows(Cohort.open(cohort), out / "labelled" / "watch")
    results = out / "evaluation"
    stage("evaluate", "--data", out / "labelled",
          "--weights", WEIGHTS, "--out", results, "--arms", *ARMS, "--seeds", "1",
          "--label-people", *map(str, LABELLED_PEOPLE),
          title="the weights that come with harnet, with labels of few people")  # fmt: skip
    found = json.loads((results / "results.json").read_text())["tables"]
    by_budget = {table["budget"]: table for table in found}
    tables = {people: by_budget[f"people-{people}"] for people in LABELLED_PEOPLE}
    tables[len(tables[LABELLED_PEOPLE[0]]["arms"][0]["people"]) - 1] = by_budget["all"]
    picture(run, tables, out / "demo.png")
    print()
    for people, table in tables.items():
        print(conclusion(table, people))
    print(f"\nmade by this demo, after a few steps: {weights.resolve()}\npicture: {(out / 'demo.png').resolve()}")
    print(f"""load weights in one line:\n  python -c "import harnet; print(harnet.load_encoder('{WEIGHTS}'))" """)
    return 0


def fresh() -> int:
    """Run the demo, starting from scratch if `demo/` contains a finished one."""
    if (FOLDER / "demo.png").exists():
        shutil.rmtree(FOLDER)
    return guarded("demo", "demo", demo)


if __name__ == "__main__":
    exit_with(fresh)
