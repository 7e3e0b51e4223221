"""One hash in three forms: Python integers, NumPy arrays and tensors give the published sequence."""

import numpy as np
import torch

from data_shards.splitmix64 import GOLDEN, WORD, mix, mix_in_place
from data_shards.stream import keyed
from pretrain.transforms.window_random import mix_tensor, window_keys

SEED = 1234567
PUBLISHED = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
"""First outputs of Vigna's splitmix64.c (public domain, prng.di.unimi.it) for that seed."""

STATES = [(SEED + number * GOLDEN) & WORD for number in range(1, len(PUBLISHED) + 1)]
KEYS = [8401407639485585136, 1915705872401280945, 5687381436816277015]
"""Keys of windows 0, 1 and 12345 in epoch 2 of seed 7."""


def test_all_forms_give_the_published_sequence() -> None:
    assert [mix(state) for state in STATES] == PUBLISHED
    assert mix_in_place(np.array(STATES, np.uint64)).tolist() == PUBLISHED
    tensor = torch.from_numpy(np.array(STATES, np.uint64).view(np.int64))
    assert mix_tensor(tensor).numpy().view(np.uint64).tolist() == PUBLISHED
    assert keyed.numbers(SEED, len(PUBLISHED)).tolist() == PUBLISHED


def test_forms_agree_on_the_extremes_and_on_many_numbers() -> None:
    numbers = keyed.hashes(3, np.arange(10_000))
    numbers[:4] = [0, 1, 1 << 63, WORD]
    expected = [mix(number) for number in numbers.tolist()]
    assert mix_in_place(numbers.copy()).tolist() == expected
    assert mix_tensor(torch.from_numpy(numbers.view(np.int64))).numpy().view(np.uint64).tolist() == expected


def test_keys_of_windows_stay_what_they_were() -> None:
    """Resumed runs draw the same transforms only if these keys never change."""
    assert window_keys(7, 2, torch.tensor([0, 1, 12345])).tolist() == KEYS
