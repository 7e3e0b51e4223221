"""Claim: damage is refused, detected or harmless, never used silently; and a kill at any system call loses nothing.

Damage: in each artifact that the system stores, a random file is damaged (one bit flipped, a page zeroed, truncated,
deleted), 50 times each with a fixed seed; then the artifact is used, and the result is compared with the undamaged one.
Kills: saving a checkpoint, sharding and ingesting are killed at every tenth of their system calls; what is left must be
valid, and repeating the work must give the same result.

    python -m benchmarks.faults                      # all of it
    python -m benchmarks.faults --trials 5 --every 200
"""

import argparse
import contextlib
import hashlib
import io
import json
import logging
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import kills
from benchmarks.report import RESULTS, machine
from data_shards.cohort import verify_cohort as stores
from data_shards.cohort.store import Cohort
from data_shards.quality.policy import POLICIES
from data_shards.shards import manifest, verify_shards, writer
from data_shards.shards.shard_plan import ShardOptions
from data_shards.stream.retries import RetryPolicy
from data_shards.stream.shard_files import Shards
from data_shards.synthetic.make import synthesise
from data_shards.synthetic.synth_options import SynthOptions
from harnet.errors import HarnetError
from harnet.heads import PretextModel
from harnet.weights.bundle import BundleConfig, save
from launch.cli import main as harnet
from pretrain.run import checkpoint

SEED = 0
Parts = dict[str, str]
"""Name of what was read -> its digest, or `REFUSED`."""
REFUSED = "refused"
OUTCOMES = ("refused", "found", "harmless", "traceback", "USED IN SILENCE")
"""Noticed in use; only by verify; by neither, but everything read was right; crash without a message; wrong data."""


@dataclass(frozen=True)
class Kept:
    """One artifact that the system stores."""

    folder: Path
    """Folder of the undamaged artifact."""
    files: Callable[[Path], list[Path]]
    """Files of a copy that may be damaged."""
    use: Callable[[Path], Parts]
    """Read all of it, as the next stage does."""
    check: Callable[[Path], bool]
    """Whether verification passes."""


def digest(*values: Any) -> str:
    """Digest of arrays by their bytes, of anything else by its text."""
    found = hashlib.sha256()
    for value in values:
        found.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return found.hexdigest()


def attempted(read: Callable[[], str]) -> str:
    """The digest of the result, or `REFUSED`."""
    try:
        return read()
    except HarnetError:
        return REFUSED


def use_store(folder: Path) -> Parts:
    """Metadata and signals of every recording, and their listing."""
    cohort = Cohort.open(folder)
    found = {"listing": attempted(lambda: digest(*cohort.infos()))}
    for name in cohort.recordings():
        found[name] = attempted(lambda name=name: _recording(cohort, name))  # type: ignore[misc]
    return found


def _recording(cohort: Cohort, name: str) -> str:
    stored = cohort.open_recording(name)
    data = stored.read_hours(0, stored.info.hours)
    return digest(stored.info, data.accel, data.motion, data.wear)


def use_shards(folder: Path) -> Parts:
    """The manifest and every block."""
    contents = manifest.read(folder)
    columns = [contents.columns[name] for name in sorted(contents.columns)]
    found = {"manifest": digest(contents.shards, contents.participants, contents.recordings, *columns)}
    with Shards(contents, retry_policy=RetryPolicy(0)) as shards:
        for row in range(len(contents.columns["hour"])):
            found[str(row)] = attempted(lambda row=row: digest(*shards.read(row)))  # type: ignore[misc]
    return found


def use_checkpoints(run: Path) -> Parts:
    """Every checkpoint that counts as valid."""
    found = checkpoint.find_all(run)
    return {str(each.step): digest(each.metadata, each.network(), each.optimizer()) for each in found}


def use_weights(folder: Path) -> Parts:
    """The weights that an encoder is built from."""
    from harnet.weights.load import read_bundle

    bundle = read_bundle(folder)
    tensors = [value.numpy() for _, value in sorted(bundle.state.items())]
    return {"weights": digest(bundle.config, *tensors)}


def tried(kept: Kept, sound: Parts, spoil: Callable[[Path, np.random.Generator], None], key: list[int]) -> str:
    """The outcome of one fault."""
    random = np.random.default_rng(key)
    with tempfile.TemporaryDirectory() as name:
        copy = shutil.copytree(kept.folder, Path(name) / kept.folder.name)
        files = kept.files(copy)
        spoil(files[random.integers(len(files))], random)
        try:
            found = kept.use(copy)
        except HarnetError:
            return "refused"
        except Exception:
            logging.exception("%s %s", kept.folder.name, key)
            return "traceback"
        if any(sound.get(part) != value for part, value in found.items() if value != REFUSED):
            return "USED IN SILENCE"
        if REFUSED in found.values() or found.keys() != sound.keys():
            return "refused"
        return "harmless" if kept.check(copy) else "found"


def flip(path: Path, random: np.random.Generator) -> None:
    """Flip one bit."""
    content = bytearray(path.read_bytes())
    if content:
        content[random.integers(len(content))] ^= 1 << int(random.integers(8))
    path.write_bytes(content)


def blank(path: Path, random: np.random.Generator) -> None:
    """Overwrite 512 bytes with zeros, as a lost sector would read."""
    content = bytearray(path.read_bytes())
    start = int(random.integers(max(1, len(content) - 511)))
    content[start : start + 512] = bytes(len(content[start : start + 512]))
    path.write_bytes(content)


def cut(path: Path, random: np.random.Generator) -> None:
    """Truncate the file."""
    content = path.read_bytes()
    path.write_bytes(content[: int(random.integers(max(1, len(content))))])


def remove(path: Path, random: np.random.Generator) -> None:
    """Delete the file."""
    path.unlink()


FAULTS = {"a bit": flip, "a page": blank, "an end": cut, "a file": remove}


def things(folder: Path) -> dict[str, Kept]:
    """A small artifact of each kind, in `folder`."""
    cohort = synthesise(folder / "cohort.zarr", 2, SynthOptions(hours=1))
    writer.write_shards(cohort, folder / "shards", ShardOptions(blocks_per_shard=1, quality=POLICIES["none"]))
    for step in (1, 2):
        kills.save_checkpoint(folder / "run", step)
    state = PretextModel("harnet5", width=8).state_dict()
    save(folder / "weights", state, BundleConfig("harnet5", 5, "none", width=8))

    def everything(root: Path) -> list[Path]:
        return sorted(path for path in root.rglob("*") if path.is_file())

    def verified(root: Path) -> bool:
        return not verify_shards.verify_shards(root)

    def inspected(root: Path) -> bool:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return harnet(["inspect", str(root)]) == 0

    return {
        "cohort store": Kept(
            folder / "cohort.zarr", everything, use_store, lambda at: not stores.verify_cohort(at).problems
        ),
        "shards": Kept(folder / "shards", lambda at: sorted(at.glob("*.tar")), use_shards, verified),
        "manifest": Kept(folder / "shards", lambda at: [at / manifest.FILE_NAME], use_shards, verified),
        "checkpoints": Kept(folder / "run", everything, use_checkpoints, lambda at: True),
        "weights": Kept(folder / "weights", everything, use_weights, inspected),
    }


def damage(trials: int) -> dict[str, dict[str, dict[str, int]]]:
    """Artifact -> fault -> outcome -> count."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    with tempfile.TemporaryDirectory() as name:
        for number, (thing, kept) in enumerate(things(Path(name)).items()):
            sound = kept.use(kept.folder)
            found[thing] = {}
            for kind, (fault, spoil) in enumerate(FAULTS.items()):
                keys = [[SEED, number, kind, trial] for trial in range(trials)]
                found[thing][fault] = dict(Counter(tried(kept, sound, spoil, key) for key in keys))
                print(f"{thing}, {fault}: {found[thing][fault]}", flush=True)
    return found


def as_text(damaged: dict[str, dict[str, dict[str, int]]], killed: dict[str, dict[str, int]]) -> str:
    """Two Markdown tables."""
    lines = [f"| spoilt | fault | {' | '.join(OUTCOMES)} |", "|---|---|" + "---|" * len(OUTCOMES)]
    for thing, faults in damaged.items():
        for fault, counts in faults.items():
            lines.append(f"| {thing} | {fault} | {' | '.join(str(counts.get(name, 0)) for name in OUTCOMES)} |")
    lines += ["", "| killed | system calls | kills | invalid afterwards | another result when done again |",
              "|---|---|---|---|---|"]  # fmt: skip
    lines += [f"| {name} | {' | '.join(str(count) for count in counts.values())} |" for name, counts in killed.items()]
    return "\n".join(lines)


def main() -> None:
    """Run everything and save the results; exit code 1 if any damage was used silently or anything was lost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--every", type=int, default=10, help="system calls between kills")
    options = parser.parse_args()
    torch.set_num_threads(1)
    # First: it forks, which a process with the threads of the other half must not do.
    killed = kills.table(options.every)
    logging.disable(logging.WARNING)
    damaged = damage(options.trials)
    text = as_text(damaged, killed)
    print(text)
    found = {"trials": options.trials, "every": options.every, "seed": SEED, "damage": damaged, "kills": killed}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "faults.json").write_text(json.dumps(found | {"on": machine("zarr")}, indent=2) + "\n")
    silent = any(counts.get(OUTCOMES[-1], 0) for faults in damaged.values() for counts in faults.values())
    lost = any(counts["invalid"] or counts["different"] for counts in killed.values())
    raise SystemExit(int(silent or lost))


if __name__ == "__main__":
    main()
