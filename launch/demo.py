"""`make demo`: the whole pipeline, end to end, on the watch recordings inside the seglearn package.

Every stage is a command that a user could type; it is printed before it runs. Fine-tuned and untrained encoders are
compared on the people who were held out of pretraining.
"""

import json
import shlex
import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from data_shards.cohort.store import Cohort
from data_shards.layout import COUNTS_PER_G, RATE
from data_shards.shards.split import split_of
from harnet.console import exit_with, guarded
from harnet.errors import HarnetError
from harnet.run_folder import read_log
from launch.cli import main

FOLDER = Path("demo")
SECONDS = 5


def watch_file() -> Path:
    """Path of the recordings inside the installed seglearn package, without importing it."""
    try:
        found = distribution("seglearn").locate_file("seglearn/data/watch_dataset.npy")
    except PackageNotFoundError:
        raise HarnetError("the demo needs the recordings in seglearn: pip install 'harnet[demo]'") from None
    return Path(str(found))


def stage(title: str, *command: str | Path) -> None:
    """Print and run a command; if it fails, the demo exits with its exit code."""
    words = [str(word) for word in command]
    print(f"\n== {title}\n$ harnet {shlex.join(words)}", flush=True)
    if code := main(words):
        raise SystemExit(code)


def labelled_windows(cohort: Cohort, folder: Path) -> None:
    """Write windows of the held-out people, labelled with the exercise, in the layout that `harnet finetune` reads."""
    windows, labels, people = [], [], []
    for name in cohort.recordings():
        info = cohort.info(name)
        if split_of(info.participant) != "heldout":
            continue
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
    print(f"{folder}: {len(windows)} windows of {len(set(people))} held-out people, {len(set(labels))} exercises")


def picture(run: Path, results: dict[str, Any], path: Path) -> None:
    """Plot loss curves, held-out accuracy of each pretext task, and the comparison on held-out people."""
    mpl.use("agg")
    from matplotlib import pyplot as plt

    rows = read_log(run)
    curves = {kind: [row for row in rows if row["kind"] == kind] for kind in ("train", "heldout")}
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for kind, label in (("train", "training people"), ("heldout", "held-out people")):
        left.plot([row["step"] for row in curves[kind]], [row["loss"] for row in curves[kind]], label=label)
    left.axhline(np.log(2), color="grey", linestyle=":", label="chance")
    left.set(title="Pretext loss", xlabel="step", ylabel="cross-entropy", ylim=(0, 1.2))
    tasks = [name.removeprefix("accuracy/") for name in curves["heldout"][-1] if name.startswith("accuracy/")]
    for task in tasks:
        values = [row[f"accuracy/{task}"] for row in curves["heldout"]]
        middle.plot([row["step"] for row in curves["heldout"]], values, marker="o", label=task.replace("_", " "))
    middle.axhline(0.5, color="grey", linestyle=":", label="chance")
    middle.set(title="Was it applied? Held-out people", xlabel="step", ylabel="accuracy", ylim=(0.3, 1))
    arms = {arm: [person["macro_f1"] for person in found["people"]] for arm, found in results["arms"].items()}
    right.bar(range(len(arms)), [np.mean(scores) for scores in arms.values()], color=["C0", "C7"])
    for place, scores in enumerate(arms.values()):
        right.plot([place] * len(scores), scores, "k.", label="one person" if place == 0 else None)
    right.set(title="Exercises of people never seen", ylabel="macro F1", ylim=(0, 1))
    right.set_xticks(range(len(arms)), list(arms))
    for axis in (left, middle, right):
        axis.legend(fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def demo() -> int:
    """Run all stages in `demo/`; an interrupted demo resumes."""
    file, out = watch_file(), FOLDER
    cohort, shards, run, weights = out / "cohort.zarr", out / "shards", out / "run", out / "weights"
    out.mkdir(exist_ok=True)
    stage("device files -> 30 Hz cohort store", "ingest", file, "--out", cohort)
    stage("cohort store -> shards and manifest", "shard", cohort, "--out", shards, "--quality", "none")
    stage("verify every byte", "verify", shards)
    stage("pretraining", "pretrain", "--config", "demo", "--data.shards", shards, "--run.out", run)
    stage("weights to publish", "export", run, "--out", weights)
    print("\n== labelled windows of the held-out people", flush=True)
    labelled_windows(Cohort.open(cohort), out / "labelled")
    tuned = out / "finetuned"
    options = ("--weights", weights, "--out", tuned, "--compare-scratch", "--epochs", "6", "--no-final-model")
    stage("fine-tuned against trained from scratch, each person held out", "finetune", out / "labelled", *options)
    results = json.loads((tuned / "results.json").read_text())
    picture(run, results, out / "demo.png")
    scores = ", ".join(f"{arm} {found['summary']['macro_f1']:.2f}" for arm, found in results["arms"].items())
    print(f"\nmacro F1 on held-out people: {scores}. An hour of recordings is too little to conclude about transfer.")
    print(f"\nweights: {weights.resolve()}\npicture: {(out / 'demo.png').resolve()}\nload them in one line:\n"
          f"""  python -c "import harnet; print(harnet.load_encoder('{weights}'))" """)  # fmt: skip
    return 0


def fresh() -> int:
    """Run the demo, starting from scratch if `demo/` contains a finished one."""
    if (FOLDER / "demo.png").exists():
        shutil.rmtree(FOLDER)
    return guarded("demo", "demo", demo)


if __name__ == "__main__":
    exit_with(fresh)
