"""Who is held out: decided by a hash of the pseudonym alone, so that it never changes as a cohort grows."""

from typing import Literal

import xxhash

Split = Literal["train", "heldout"]

GROUPS = 10
HELD_OUT_GROUPS = 2
"""2 of 10 groups, as in Yuan et al. 2024 (npj Digital Medicine 7:91)."""


def split_of(participant: str, salt: str = "") -> Split:
    """The split of a participant; another `salt` gives another partition of the same people."""
    group = xxhash.xxh3_64_intdigest(f"harnet split {salt}/{participant}".encode()) % GROUPS
    return "heldout" if group < HELD_OUT_GROUPS else "train"
