"""Tests for every objective in the table."""

from collections import OrderedDict
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from harnet.errors import HarnetError
from pretrain import objectives
from pretrain.config import DataConfig, PretrainConfig, RunConfig, differences
from pretrain.model import ModelConfig
from pretrain.objectives import ObjectiveOutput, Objectives, PreparedBatch
from pretrain.transforms import chain, counts
from pretrain.transforms.window_random import child_keys, window_keys

# Names that the example in CONTRIBUTING.md uses.
IN_THE_EXAMPLE = (OrderedDict, dataclass, field, F, ObjectiveOutput, PreparedBatch, chain, counts)

MODEL = ModelConfig(architecture="harnet5", width=8)
EVERY = pytest.mark.parametrize("name", [*objectives.objective_names(), "context+multitask"])


def walking(count: int, seconds: int = 5) -> Tensor:
    """(count, 3, 30·seconds) counts: gravity, and an asymmetric gait, with a frequency and orientation per window."""
    random = torch.Generator().manual_seed(1)
    phase = torch.rand(count, 1, 1, generator=random) + torch.arange(30 * seconds) / 30 * (
        1 + 2 * torch.rand(count, 1, 1, generator=random)
    )
    axes = torch.randn(count, 3, 1, generator=random)
    return ((axes * (phase % 1 + 0.5)) * 1000).clamp(-32767, 32767).short()


KEYS = window_keys(seed=0, epoch=0, positions=torch.arange(32))
WINDOWS = {seconds: walking(32, seconds) for seconds in (5, 30)}


def train(name: str, steps: int) -> list[float]:
    return losses_of(objectives.create_objective(Objectives(objective=name), MODEL), steps)


def losses_of(objective: objectives.Objective, steps: int) -> list[float]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = objective.build()
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
    losses = []
    for _ in range(steps):
        outcome = objectives.score_batch(objective, network, WINDOWS[objective.seconds], KEYS)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        losses.append(outcome.loss.item())
    return losses


@EVERY
def test_the_loss_falls_on_a_small_batch_and_repeats_to_the_bit(name: str) -> None:
    losses = train(name, 25)
    assert min(losses[-3:]) < 0.8 * losses[0]
    assert train(name, 4) == losses[:4]


@EVERY
def test_a_window_is_prepared_alike_in_any_batch(name: str) -> None:
    objective = objectives.create_objective(Objectives(objective=name), MODEL)
    some, windows = torch.tensor([20, 2, 9]), WINDOWS[objective.seconds]
    whole, part = objective.prepare(windows, KEYS), objective.prepare(windows[some], KEYS[some])
    views = len(whole.inputs) // len(windows)
    assert torch.equal(part.inputs.view(views, 3, 3, 150), whole.inputs.view(views, 32, 3, 150)[:, some])
    for target, value in whole.targets.items():
        assert torch.equal(part.targets[target], value[some])


@EVERY
def test_another_position_seed_or_epoch_is_prepared_otherwise(name: str) -> None:
    objective = objectives.create_objective(Objectives(objective=name), MODEL)
    windows = WINDOWS[objective.seconds]
    one = objective.prepare(windows, KEYS).inputs
    for keys in (window_keys(1, 0, torch.arange(32)), window_keys(0, 1, torch.arange(32)), KEYS.flip(0)):
        assert not torch.equal(objective.prepare(windows, keys).inputs, one)


@EVERY
def test_nothing_waits_for_the_device_nor_copies_to_it(name: str) -> None:
    # The meta device holds no values: reading one, a shape that depends on one, or a host tensor among them fails.
    objective = objectives.create_objective(Objectives(objective=name), MODEL)
    prepared = objective.prepare(
        WINDOWS[objective.seconds].to("meta"), window_keys(0, 0, torch.arange(32, device="meta"))
    )
    assert {prepared.inputs.device.type, *(value.device.type for value in prepared.targets.values())} == {"meta"}
    with torch.device("meta"):
        network = objective.build()
    objective.score(network(prepared.inputs), prepared.targets).loss.backward()


@EVERY
@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_preparing_is_the_same_on_a_gpu_and_fits_into_a_cuda_graph(name: str) -> None:
    objective = objectives.create_objective(Objectives(objective=name), MODEL)
    windows, keys = WINDOWS[objective.seconds].cuda(), KEYS.cuda()
    expected = objective.prepare(WINDOWS[objective.seconds], KEYS).inputs
    torch.testing.assert_close(objective.prepare(windows, keys).inputs.cpu(), expected, atol=1e-4, rtol=0)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = objective.prepare(windows, keys).inputs
    graph.replay()
    torch.testing.assert_close(captured.cpu(), expected, atol=1e-4, rtol=0)


@EVERY
def test_every_parameter_gets_a_gradient_and_the_encoder_has_its_name(name: str) -> None:
    objective = objectives.create_objective(Objectives(objective=name), MODEL)
    network = objective.build()
    assert isinstance(network.get_submodule("feature_extractor"), nn.Module)
    objectives.score_batch(objective, network, WINDOWS[objective.seconds], KEYS).loss.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@EVERY
def test_evaluation_first_does_not_spoil_training(name: str) -> None:
    # A tensor made in inference mode must not be cached for training.
    objective = objectives.create_objective(Objectives(objective=name), ModelConfig(architecture="harnet5", width=16))
    network = objective.build()
    with torch.inference_mode():
        objectives.score_batch(objective, network.eval(), WINDOWS[objective.seconds], KEYS)
    objectives.score_batch(objective, network.train(), WINDOWS[objective.seconds], KEYS).loss.backward()


def test_the_example_for_a_new_objective_is_chosen_by_name_and_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code in CONTRIBUTING.md, exactly as printed there."""
    blocks = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text().split("```python\n")[1:]
    example, line = (block.split("```")[0] for block in blocks)
    table = f"@dataclass(frozen=True, kw_only=True)\nclass Table(Objectives):\n{line}"
    names = dict(globals())
    exec(example + table, names)
    monkeypatch.setattr(objectives, "Objectives", names["Table"])
    assert objectives.objective_names() == ("multitask", "simclr", "context", "masked", "vigour")
    objective = objectives.create_objective(names["Table"](objective="vigour"), MODEL)
    losses = losses_of(objective, 25)
    assert losses[-1] < 0.8 * losses[0]


def test_an_unknown_objective_is_named_with_those_there_are() -> None:
    with pytest.raises(HarnetError, match=r"objective is 'byol'; one of: multitask, simclr, context, masked"):
        objectives.create_objective(Objectives(objective="byol"), MODEL)


def test_only_the_options_of_the_chosen_objective_are_written_down() -> None:
    config = PretrainConfig(DataConfig("shards"), RunConfig(Path("run")), objective="simclr")
    plain = config.as_dict()
    assert plain["objective"] == "simclr"
    assert plain["simclr"]["transforms"][0] == "scaling"
    assert plain.keys().isdisjoint({"multitask", "masked", "context", "objective_weights"})
    several = replace(config, objective="context+multitask", objective_weights=(1.0, 0.5)).as_dict()
    assert {"context", "multitask"} <= several.keys()
    assert several.keys().isdisjoint({"simclr", "masked"})
    assert several["objective_weights"] == [1.0, 0.5]


def test_the_loss_of_several_objectives_is_the_weighted_sum_of_theirs() -> None:
    several = objectives.create_objective(
        Objectives(objective="context+multitask", objective_weights=(2.0, 0.5)), MODEL
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = several.build()
    found = objectives.score_batch(several, network, WINDOWS[30], KEYS)
    assert found.loss.item() == pytest.approx(
        2 * found.metrics["context/loss"].item() + 0.5 * found.metrics["multitask/loss"].item()
    )
    # Each part equals what the objective alone gives for the same windows, with its own draws.
    alone = objectives.create_objective(Objectives(), MODEL)
    expected = alone.prepare(WINDOWS[30][..., :150], child_keys(KEYS, "multitask"))
    prepared = several.prepare(WINDOWS[30], KEYS)
    assert torch.equal(prepared.inputs[64:], expected.inputs)
    assert torch.equal(prepared.targets["multitask/labels"], expected.targets["labels"])
    assert [name for name in network.state_dict() if "feature_extractor" in name] == [
        f"feature_extractor.{name}" for name in network.get_submodule("feature_extractor").state_dict()
    ]


@pytest.mark.parametrize(
    ("objective", "weights", "says"),
    [
        ("context+multitask", (1.0,), "must be 2 numbers above 0"),
        ("context+multitask", (1.0, 0.0), "must be 2 numbers above 0"),
        ("context", (1.0,), "for several objectives"),
        ("context+context", (), "none twice"),
        ("context+byol", (), "one of: multitask"),
    ],
)
def test_wrong_mixtures_are_named(objective: str, weights: tuple[float, ...], says: str) -> None:
    with pytest.raises(HarnetError, match=says):
        objectives.create_objective(Objectives(objective=objective, objective_weights=weights), MODEL)


def test_a_run_does_not_go_on_with_another_objective() -> None:
    old = {"multitask": {"tasks": ["reversal"]}}
    assert differences(old, {"objective": "multitask", "multitask": {"tasks": ["reversal"]}}) == []
    changed = differences(old, {"objective": "simclr", "simclr": {"temperature": 0.1}})
    assert changed == ["objective was 'multitask', now 'simclr'"]
    both = {"objective": "context+multitask", "context": {"seconds": 20.0}, "multitask": {}}
    assert differences(both | {"objective_weights": []}, both | {"objective_weights": []}) == []
    assert differences(both | {"objective_weights": []}, both | {"objective_weights": [1.0, 2.0]}) == [
        "objective_weights was [], now [1.0, 2.0]"
    ]
    assert differences(both, both | {"context": {"seconds": 5.0}}) == ["context.seconds was 20.0, now 5.0"]


@pytest.mark.parametrize(
    ("option", "values", "says"),
    [
        ("simclr", {"transforms": ()}, "simclr.transforms is ()"),
        ("simclr", {"transforms": ("noise", "noise")}, "none twice"),
        ("simclr", {"probability": 0.0}, "simclr.probability is 0.0"),
        ("simclr", {"temperature": 0.0}, "simclr.temperature is 0.0"),
        ("simclr", {"temperature": float("nan")}, "simclr.temperature is nan"),
        ("simclr", {"noise_g": -1.0}, "simclr.noise_g is -1.0"),
        ("simclr", {"projection": 0}, "simclr.projection is 0"),
        ("simclr", {"tilt_degrees": 181.0}, "simclr.tilt_degrees is 181.0"),
        ("simclr", {"gain": 1.0}, "simclr.gain is 1.0"),
        ("context", {"seconds": 0.0}, "context.seconds is 0.0"),
        ("context", {"temperature": 0.0}, "context.temperature is 0.0"),
        ("masked", {"share": 1.0}, "masked.share is 1.0"),
        ("masked", {"patch_seconds": 0.0}, "masked.patch_seconds is 0.0"),
        ("masked", {"patch_seconds": 3.0}, "masked.patch_seconds is 3.0"),
    ],
)
def test_a_wrong_option_is_named(option: str, values: dict[str, object], says: str) -> None:
    section = {one.name: one.default_factory for one in fields(Objectives) if one.name in objectives.objective_names()}[
        option
    ]
    with pytest.raises(HarnetError) as caught:
        section(**values)  # type: ignore[operator,misc]
    assert says in str(caught.value)
