"""Windows rotated at random by right angles: the same movements by a device worn another way round.

Which way round a device is worn, and which of its axes is called x, differ between studies. A classifier that learns
from windows of one study, as recorded, learns that orientation too, and fails on another device.
"""

from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray


def right_angles() -> NDArray[np.float32]:
    """(24, 3, 3): all rotations that map axes to axes."""
    found = []
    for order in permutations(range(3)):
        for signs in product((1.0, -1.0), repeat=3):
            rotation = np.zeros((3, 3), np.float32)
            rotation[range(3), order] = signs
            if np.linalg.det(rotation) > 0:
                found.append(rotation)
    return np.stack(found)


def rotated(windows: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """Windows (N, 3, L), each rotated by one of `right_angles`, drawn with `seed`."""
    rotations = right_angles()
    drawn = np.random.default_rng(seed).integers(0, len(rotations), len(windows))
    found: NDArray[np.float32] = np.einsum("nij,njt->nit", rotations[drawn], windows)
    return found
