from contextlib import AbstractContextManager

import pytest
import torch

from harnet.errors import HarnetError
from pretrain.run.memory import advice_when_out_of_memory, peak_gib


def advice(precision: str = "fp32") -> AbstractContextManager[None]:
    return advice_when_out_of_memory(batch=512, accumulate=2, world=4, precision=precision)


def test_a_full_cpu_names_the_settings_to_lower() -> None:
    message = r"out of memory with 64 windows .*run.accumulate.*data.batch.*bf16"
    with pytest.raises(HarnetError, match=message) as error, advice():
        torch.empty(1 << 50)
    assert "\n" not in str(error.value)


def test_a_full_gpu_does_too() -> None:
    with pytest.raises(HarnetError, match="out of memory") as error, advice("bf16"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    assert "bf16" not in str(error.value)


def test_other_errors_pass_untouched() -> None:
    with pytest.raises(RuntimeError, match="shape"), advice():
        raise RuntimeError("shape mismatch")


def test_memory_in_use_is_a_sensible_number() -> None:
    assert 0.01 < peak_gib(torch.device("cpu")) < 1000
