import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.profile_encoder import arithmetic
from harnet.encoder import Encoder
from pretrain.model import ModelConfig
from pretrain.objectives.multitask import MultiTaskConfig
from pretrain.run import flops


def test_a_harnet10_window_costs_what_the_architecture_says() -> None:
    """Per output sample, 2 FLOPs for each weight of convolutions and down-sampling layers: 0.574 GFLOP forward."""
    objective = MultiTaskConfig().objective(ModelConfig("harnet10"))
    assert flops.per_window(objective, objective.build()) == pytest.approx(3 * 0.574e9, rel=2e-3)


def test_counting_leaves_the_network_as_it_was() -> None:
    objective = MultiTaskConfig().objective(ModelConfig("harnet5", width=8))
    network = objective.build()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flops.per_window(objective, network)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_device_that_is_not_in_the_table_is_measured(precision: str) -> None:
    found, source = flops.peak(torch.device("cpu"), precision)
    assert 1e8 < found < 1e15
    assert "measured" in source


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("NVIDIA H200", "bf16", 989e12),
        ("NVIDIA H100 PCIe", "bf16", 756e12),
        ("NVIDIA A100-SXM4-80GB", "fp32", 19.5e12),
        ("Tesla V100-SXM2-32GB", "bf16", None),
        ("NVIDIA GeForce RTX 4090", "fp32", None),
    ],
)
def test_a_device_in_the_table_has_the_peak_of_its_data_sheet(
    monkeypatch: pytest.MonkeyPatch, name: str, precision: str, expected: float | None
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    monkeypatch.setattr(flops, "_measured", lambda device, dtype: 1.0)
    found = flops.peak(torch.device("cuda"), precision)
    assert found == ((1.0, "matrix product, measured") if expected is None else (expected, "data sheet"))


def test_the_floor_of_the_stages_is_the_arithmetic_of_the_encoder() -> None:
    """Counted by torch; down-sampling, which the lower bound leaves out, is a hundredth of it."""
    with torch.device("meta"):
        encoder = Encoder("harnet10")
        x = torch.zeros(2, 3, 300)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        encoder(x)
    rows = arithmetic(encoder.architecture, 2, 2, peak=790e12, speed=4.3e12)
    assert sum(row["gflop"] for row in rows[:-1]) == pytest.approx(3 * counter.get_total_flops() / 1e9, rel=0.01)
    assert [row["bound_by"] for row in rows[:-1]] == ["memory", "memory", "arithmetic", "arithmetic", "arithmetic"]
