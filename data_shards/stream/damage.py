"""How much of what was read is damaged, and when that is too much."""

import logging

from harnet.errors import HarnetError

_LOG = logging.getLogger(__name__)

JUDGED_FROM = 10_000
"""Blocks. Before so many have been read, or as many as an epoch visits if those are fewer, the share is taken of this
number: one damaged block among the first three must not stop a long run."""
_NAMED = 5


class DamagedBlock(HarnetError):
    """A block whose bytes are not those of the manifest, or not there."""


class DamageTally:
    """Blocks read by one process, and those of them that were damaged."""

    def __init__(self, max_share: float) -> None:
        self._max_share = max_share
        self._judged_from = JUDGED_FROM
        self._names: dict[int, str] = {}
        self.read = 0
        """Blocks read, every visit counted."""
        self.damaged = 0
        """Those of them that were damaged."""

    def expect(self, visits: int) -> None:
        """Say how many blocks an epoch visits."""
        self._judged_from = min(JUDGED_FROM, visits)

    def knows(self, row: int) -> bool:
        """Whether a block was found to be damaged before: trying it again would cost seconds."""
        return row in self._names

    def add(self, row: int, damage: DamagedBlock | None) -> None:
        """Count a block, sound if `damage` is None.

        Raises:
            HarnetError: too large a share is damaged.
        """
        self.read += 1
        if damage is None and row not in self._names:
            return
        self.damaged += 1
        if damage is not None and row not in self._names:
            self._names[row] = str(damage)
            _LOG.warning("skipped: %s", damage)
        seen = max(self.read, self._judged_from)
        if self.damaged > self._max_share * seen:
            named = "; ".join(list(self._names.values())[:_NAMED])
            raise HarnetError(
                f"{self.damaged} of {self.read} block reads met damage, more than data.max_damaged = "
                f"{self._max_share:g} of {seen} allows: {named}{' …' if len(self._names) > _NAMED else ''}"
            )
