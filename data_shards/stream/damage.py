"""Counting damaged blocks, and stopping when there are too many."""

import logging

from harnet.errors import HarnetError

_LOG = logging.getLogger(__name__)

JUDGED_FROM = 10_000
"""Minimum denominator of the damaged share, in blocks (or the visits of an epoch if fewer): one damaged block among the
first three must not stop a long run."""
_NAMED = 5


class DamagedBlock(HarnetError):
    """A block whose bytes do not match the manifest or are missing."""


class DamageTally:
    """Number of blocks read, and of damaged ones, in one process."""

    def __init__(self, max_share: float) -> None:
        self._max_share = max_share
        self._judged_from = JUDGED_FROM
        self._names: dict[int, str] = {}
        self.read = 0
        """Blocks read, counting every visit."""
        self.damaged = 0
        """Those of them that were damaged."""

    def expect(self, visits: int) -> None:
        """Set the number of blocks that an epoch visits."""
        self._judged_from = min(JUDGED_FROM, visits)

    def knows(self, row: int) -> bool:
        """Whether a block is already known to be damaged; reading it again would cost seconds."""
        return row in self._names

    def add(self, row: int, damage: DamagedBlock | None) -> None:
        """Count a block, intact if `damage` is None.

        Raises:
            HarnetError: the damaged share exceeds the limit.
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
                f"{self.damaged} of {self.read} block reads found damage, more than data.max_damaged = "
                f"{self._max_share:g} of {seen} allows: {named}{' …' if len(self._names) > _NAMED else ''}"
            )
