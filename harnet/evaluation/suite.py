"""All arms on all data sets: planned, run piece by piece on one or more processes, resumable."""

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from harnet.claims import SETTINGS, taken
from harnet.errors import HarnetError
from harnet.evaluation.across import Across
from harnet.evaluation.arms import ARMS, FUSED, NETWORKS, parts_of
from harnet.evaluation.protocols import PROTOCOLS, find_protocols
from harnet.evaluation.result_tables import write_tables
from harnet.evaluation.suite_context import SuiteContext, SuiteInputs
from harnet.evaluation.trials import ALL, Budget, Trial, fuse_pieces, run_piece
from harnet.files import write_atomically
from harnet.parts import WHOLE, Part
from harnet.progress import bar

HERE = "here"
ROTATIONS = ("right-angles", "none")


@dataclass(frozen=True)
class SuiteConfig:
    """Options of `harnet evaluate`. HarnetError for invalid values."""

    weights: str
    """Folder or URL of exported weights."""
    out: Path
    """Folder for the results; created if missing."""
    data: Path = Path("labelled")
    """Folder with one sub-folder of labelled windows (X.npy, Y.npy, pid.npy) per data set."""
    suite: tuple[str, ...] = (HERE,)
    """Names of data sets in --data, or "here" for all of them."""
    train_on: str = ""
    """Cross-dataset evaluation: train on this data set in --data ..."""
    test_on: str = ""
    """... and test on all people of this one; labels are mapped to common classes (walk, run, stairs, still)."""
    rotation: str = "right-angles"
    """With --train-on: rotate each training window at random by right-angles, since devices are worn in different
    ways; or none."""
    protocol: tuple[str, ...] = ("robust",)
    """robust, published, or both."""
    seeds: int = 3
    """Number of seeds (0, 1, ...) per fold."""
    arms: tuple[str, ...] = ARMS
    """Classifiers to compare; a fused one includes those that it consists of. Arms that do not train an encoder (all
    but scratch and fine-tuned) take minutes; more arms can be added later."""
    label_people: tuple[int, ...] = ()
    """Label-efficiency curve: also train with only this many labelled people, such as 1 2 4."""
    label_windows: tuple[float, ...] = ()
    """Label-efficiency curve: also train with only these fractions of the training windows, such as 0.01 0.1."""
    all_labels: bool = True
    """Train with all labels. Without, only the points of the curve are computed, which take fewer steps."""
    workers: int = 1
    """Worker processes; on a CPU, one per core is fastest."""
    threads: int = 1
    """CPU threads per process. Results are bit-identical with the same number on the same kind of machine."""
    device: str = "cpu"
    """Torch device, such as cpu or cuda."""
    part: str = WHOLE
    """Run only this share, such as 3/100 in a job array. Once all parts are done, run the same command without --part
    to write the tables."""

    def __post_init__(self) -> None:
        if min(self.seeds, self.workers, self.threads) < 1:
            raise HarnetError(f"seeds {self.seeds}, workers {self.workers}, threads {self.threads}: must be 1 or more")
        if any(count < 1 for count in self.label_people):
            raise HarnetError(f"label-people {' '.join(map(str, self.label_people))}: must be 1 or more")
        if any(not 0 < share <= 1 for share in self.label_windows):
            raise HarnetError(f"label-windows {' '.join(map(str, self.label_windows))}: must be above 0 and at most 1")
        if not self.budgets:
            raise HarnetError("no-all-labels: needs points of the curve: label-people or label-windows")
        if self.rotation not in ROTATIONS:
            raise HarnetError(f"rotation {self.rotation!r}: not known; of: {', '.join(ROTATIONS)}")
        find_protocols(self.protocol)
        if bool(self.train_on) != bool(self.test_on) or (self.train_on and self.train_on == self.test_on):
            raise HarnetError(
                f"train-on {self.train_on!r}, test-on {self.test_on!r}: must be two data sets, or neither"
            )
        if unknown := [arm for arm in self.arms if arm not in ARMS]:
            raise HarnetError(f"arms {unknown[0]!r}: not known; of: {', '.join(ARMS)}")

    @property
    def across(self) -> Across | None:
        """The two data sets of a cross-dataset evaluation, or None."""
        return Across(self.train_on, self.test_on, self.rotation != "none") if self.train_on else None

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """All labels, and the points of the label-efficiency curve."""
        points = [Budget("people", float(count)) for count in dict.fromkeys(self.label_people)]
        points += [Budget("windows", share) for share in dict.fromkeys(self.label_windows)]
        return (*((ALL,) if self.all_labels else ()), *points)


def evaluate(config: SuiteConfig) -> dict[str, Any] | None:
    """Run or resume the suite; returns the content of `out/results.json`, or None with `part`, which writes none.

    Seeds, protocols, budgets and data sets can be added to an existing folder of results; HarnetError if its weights,
    data or recipes differ.
    """
    context = _context_of(config)
    names = dataset_names(config)
    settings = _claim(config, context, names)
    part = Part.parse(config.part)
    trials = list(plan_trials(config, context, names))
    pieces = list(part.of(trials))
    for name in names:
        context.prepare(name)
    left = [piece for piece in pieces if not piece.finished(config.out)]
    units = {piece: _units(piece, context) for piece in pieces}
    done = sum(units[piece] for piece in pieces) - sum(units[piece] for piece in left)
    with bar(sum(units.values()), "evaluation", "step", initial=0) as shown:
        shown.update(done)
        run = _in_processes if config.workers > 1 and len(left) > 1 else _in_this_process
        # Quick arms come first, those of one fold and seed together, which share the features of an untrained encoder.
        # Then networks, table by table, the longest first, so that no process is left working alone at the end.
        order = {name: number for number, name in enumerate(config.protocol)}
        left.sort(
            key=lambda piece: (
                piece.dataset,
                order[piece.protocol],
                (True, piece.budget != ALL, -units[piece])
                if piece.arm in NETWORKS
                else (False, piece.fold, piece.seed),
            )
        )
        run(left, context, config, units, shown.update)
    if part.count > 1:
        return None
    _fuse(trials, context, config)
    return write_tables(config.out, settings, context.bundle.config.to_json())


def piece_names(config: SuiteConfig) -> list[str]:
    """Names of all pieces of the suite, in the order of `plan_trials`; nothing is run."""
    context = _context_of(config)
    return [str(piece.path(Path())) for piece in plan_trials(config, context, dataset_names(config))]


def _context_of(config: SuiteConfig) -> SuiteContext:
    return SuiteContext(
        SuiteInputs(
            config.weights,
            config.data,
            config.out,
            find_protocols(config.protocol),
            config.threads,
            config.device,
            config.across,
        )
    )


def dataset_names(config: SuiteConfig) -> tuple[str, ...]:
    """Names of the suite's data sets; HarnetError if one is missing."""
    available = sorted(path.parent.name for path in config.data.glob("*/X.npy"))
    if not available:
        raise HarnetError(f"{config.data}: no folder with X.npy in it: create one with harnet dataset windows, "
                          "or point --data elsewhere")  # fmt: skip
    requested = (config.train_on, config.test_on) if config.across else config.suite
    if HERE in requested:
        return tuple(available)
    if absent := [name for name in requested if name not in available]:
        raise HarnetError(f"{config.data}: no data set {absent[0]!r}; available: {', '.join(available)}")
    return (config.across.name,) if config.across else tuple(dict.fromkeys(requested))


def plan_trials(config: SuiteConfig, context: SuiteContext, names: Iterable[str]) -> Iterable[Trial]:
    """Every piece of the suite that is trained; fused arms stand for their parts.

    The curve belongs to the first protocol that is asked for.
    """
    arms = dict.fromkeys(part for arm in config.arms for part in parts_of(arm))
    for name in names:
        for number, protocol in enumerate(context.source.protocols):
            for budget in config.budgets if number == 0 else (ALL,):
                for fold in range(len(context.splits(name, protocol))):
                    for seed in range(config.seeds):
                        for arm in arms:
                            yield Trial(name, protocol.name, arm, seed, fold, budget)


def _fuse(trials: Iterable[Trial], context: SuiteContext, config: SuiteConfig) -> None:
    """Compute the fused arms, which takes no time, once everything that they fuse is there."""
    fused = {FUSED[arm]: arm for arm in config.arms if arm in FUSED}
    for trial in trials:
        if trial.arm in fused and not (piece := replace(trial, arm=fused[trial.arm])).finished(config.out):
            fuse_pieces(piece, context.inputs(piece.dataset), context.split(piece), config.out)


def _units(piece: Trial, context: SuiteContext) -> int:
    """Share of a piece in the progress bar: steps where an encoder is trained, next to nothing otherwise."""
    if piece.arm not in NETWORKS:
        return 1
    rows = context.rows(piece)
    return context.protocol(piece).recipe.schedule(len(rows.train), len(rows.validation) > 0).steps


def _in_this_process(
    pieces: list[Trial],
    context: SuiteContext,
    config: SuiteConfig,
    units: dict[Trial, int],
    update: Callable[[int], object],
) -> None:
    for piece in pieces:
        seen = 0

        def step(piece: Trial = piece) -> None:
            nonlocal seen
            if seen < units[piece]:
                seen += 1
                update(1)

        _run(context, piece, step)
        update(units[piece] - seen)


def _in_processes(
    pieces: list[Trial],
    context: SuiteContext,
    config: SuiteConfig,
    units: dict[Trial, int],
    update: Callable[[int], object],
) -> None:
    # Spawned, since torch's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(config.workers, spawn, _start, (context.source,)) as pool:
        try:
            waiting = {pool.submit(_run_here, piece): piece for piece in pieces}
            for future in as_completed(waiting):
                future.result()
                update(units[waiting[future]])
        except BrokenProcessPool as error:
            raise HarnetError(f"workers {config.workers}: one was killed, probably out of memory: use fewer workers; "
                              "finished work is kept, the same command resumes") from error  # fmt: skip
        except BaseException:
            # Otherwise leaving the pool would wait minutes for results that are no longer needed.
            for child in multiprocessing.active_children():
                child.terminate()
            pool.shutdown(cancel_futures=True)
            raise


_context: SuiteContext | None = None


def _start(source: SuiteInputs) -> None:
    """Initialise a worker process. Ctrl-C is left to the parent."""
    global _context
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _context = SuiteContext(source)


def _run_here(piece: Trial) -> None:
    assert _context is not None
    _run(_context, piece, lambda: None)


def _run(context: SuiteContext, piece: Trial, on_step: Callable[[], object]) -> None:
    inputs, setting = context.inputs(piece.dataset), context.setting(context.protocol(piece))
    with context.quiet():
        run_piece(piece, inputs, context.split(piece), setting, context.source.out, on_step)


def _claim(config: SuiteConfig, context: SuiteContext, names: tuple[str, ...]) -> dict[str, Any]:
    """Claim `out` for these settings, or add data sets to it; HarnetError if it holds results of other settings."""
    path = config.out / SETTINGS
    settings: dict[str, Any] = {
        "weights": context.bundle.digest,
        "protocols": {protocol.name: asdict(protocol) for protocol in PROTOCOLS.values()},
        "torch": str(torch.__version__),
        "threads": config.threads,
        "device": config.device,
        "data": {},
    }
    found = dict(settings)
    if path.exists():
        found = json.loads(path.read_text())
        if different := [key for key in settings if key != "data" and found.get(key) != settings[key]]:
            raise HarnetError(f"{path}: holds results of other settings ({', '.join(different)} differ): "
                              "choose another folder or repeat the original command")  # fmt: skip
    elif taken(config.out):
        raise HarnetError(f"{config.out}: contains files other than evaluation results: choose another folder")
    for name in names:
        facts = context.facts(name)
        if found["data"].setdefault(name, facts)["digest"] != facts["digest"]:
            raise HarnetError(f"{path}: holds results of other windows of {name}: choose another folder")
    config.out.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(found, indent=1) + "\n")
    return found
