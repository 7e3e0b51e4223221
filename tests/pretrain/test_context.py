import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data_shards.layout import RATE
from harnet.errors import HarnetError
from pretrain.config import DataConfig, PretrainConfig, RunConfig
from pretrain.model import ModelConfig
from pretrain.objectives.context import ContextConfig
from pretrain.transforms import counts
from pretrain.transforms.window_random import window_keys
from tests.pretrain.runs import alone, digest, losses, small, stop_before, together

MODEL = ModelConfig(architecture="harnet10", width=8)
KEYS = window_keys(seed=0, epoch=0, positions=torch.arange(3000))
# Each sample holds its position, so a crop shows where it was cut.
PLACES = torch.arange(900).short().expand(3000, 3, -1)


def test_crops_lie_anywhere_in_the_stretch_and_no_further_apart_than_asked() -> None:
    objective = ContextConfig(seconds=8.0).objective(MODEL)
    crops = (objective.pairs(PLACES, KEYS) / counts.to_g(torch.ones(1))).round().long()
    assert crops.shape == (6000, 3, 300)
    assert (crops.diff(dim=2) == 1).all()
    earlier, later = crops[:, 0, 0].view(2, 3000)
    distance = later - earlier
    assert (distance.min(), distance.max()) == (0, 8 * RATE)
    assert distance.double().mean().item() == pytest.approx(4 * RATE, abs=4 * 8 * RATE / (12 * 3000) ** 0.5)
    assert earlier.min() < 5
    assert later.max() > 595


def test_the_views_are_of_the_two_crops_and_changed_on_their_own() -> None:
    objective = ContextConfig(transforms=("gain",), probability=1.0, gain=0.1).objective(MODEL)
    crops, views = objective.pairs(PLACES[:50], KEYS[:50]), objective.prepare(PLACES[:50], KEYS[:50]).inputs
    factors = (views / crops)[:, 0, -1]
    torch.testing.assert_close(views, crops * factors[:, None, None])
    assert not torch.allclose(factors[:50], factors[50:], atol=1e-3)


@pytest.mark.parametrize(
    ("architecture", "seconds", "stretch"), [("harnet5", 5, 10), ("harnet5", 5.1, 30), ("harnet10", 20, 30)]
)
def test_the_stream_delivers_the_shortest_stretch_with_room_for_both(
    architecture: str, seconds: float, stretch: int
) -> None:
    config = PretrainConfig(
        DataConfig("shards"),
        RunConfig(Path("run")),
        ModelConfig(architecture=architecture),  # type: ignore[arg-type]
        objective="context",
        context=ContextConfig(seconds=seconds),
    )
    assert config.order().window_seconds == stretch


@pytest.mark.parametrize(
    ("architecture", "seconds", "says"),
    [("harnet10", 21.0, "context.seconds is 21.*at most 20 with this model"), ("harnet30", 1.0, "train harnet5")],
)
def test_a_stretch_that_shards_cannot_give_is_refused(architecture: str, seconds: float, says: str) -> None:
    with pytest.raises(HarnetError, match=says):
        ContextConfig(seconds=seconds).objective(ModelConfig(architecture=architecture))  # type: ignore[arg-type]


def test_a_run_of_several_objectives_goes_on_where_it_was_stopped_to_the_bit(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def config(out: str) -> PretrainConfig:
        return replace(
            small(shards, tmp_path / out, steps=4), objective="context+multitask", objective_weights=(1.0, 0.5)
        )

    straight = alone(config("straight"))
    with monkeypatch.context() as patched:
        stop_before(patched, 3, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            alone(config("stopped"))
    assert digest(alone(config("stopped"))) == digest(straight)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "straight")
    with pytest.raises(HarnetError, match=r"objective_weights was \[1.0, 0.5\], now \[1.0, 1.0\]"):
        alone(replace(config("stopped"), objective_weights=(1.0, 1.0)))


def test_a_run_goes_on_with_more_processes_to_the_same_losses(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crops, pairs and negatives are those of the global batch, whichever process computes them."""

    def config(out: str) -> PretrainConfig:
        return replace(small(shards, tmp_path / out, steps=4, sync_batchnorm=True), objective="context+multitask")

    alone(config("straight"))
    with monkeypatch.context() as patched:
        stop_before(patched, 2, signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            alone(config("more"))
    together(config("more"), 2)
    found, expected = losses(tmp_path / "more"), losses(tmp_path / "straight")
    assert found.keys() == expected.keys() == {1, 2, 3, 4}
    assert list(found.values()) == pytest.approx(list(expected.values()), rel=1e-3)
