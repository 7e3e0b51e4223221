"""The training/held-out split: a hash of the pseudonym, so that it does not change as a cohort grows."""

from typing import Literal

import xxhash

Split = Literal["train", "heldout"]

GROUPS = 10
HELD_OUT_GROUPS = 2
"""Number of held-out groups, of 10, as in Yuan et al. 2024 (npj Digital Medicine 7:91)."""


def split_of(participant: str, salt: str = "") -> Split:
    """Split of a participant; another `salt` gives another partition of the same people."""
    group = xxhash.xxh3_64_intdigest(f"harnet split {salt}/{participant}".encode()) % GROUPS
    return "heldout" if group < HELD_OUT_GROUPS else "train"
