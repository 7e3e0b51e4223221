"""Which blocks of an Axivity file belong to the recording that its header describes.

A device that was not erased still holds blocks of an earlier session, maybe from another wearer. Sessions are told
apart by their number, which is 0 unless a study assigns numbers, by the start of logging, by rate and range, and in
files that were joined by the header before them.
"""

import struct

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.axivity_times import has_date
from data_shards.readers.oddities import REPAIR_SHARE, Tally
from harnet.errors import HarnetError

UNKNOWN_SESSIONS = (0, 0xFFFFFFFF)
"""Session numbers in the header that mean "unknown": 0 according to cwa.h, all ones if it was never written."""
_SESSION_AND_START = struct.Struct("<I2xI")
_SESSION_AT, _RATE_AT = 7, 36
"""Byte offsets in the header (cwa.h) of the session, the start of logging after it, and the rate and range."""


def of_session(header: bytes, facts: NDArray[np.void], tally: Tally) -> tuple[NDArray[np.bool_], int]:
    """Choose the blocks of the header's session, and count the others.

    Args:
        header: The file's header.
        facts: (n,) intact blocks, with the fields "session", "stamp", "rate" and "foreign".
        tally: Counts the blocks of other sessions.

    Returns:
        (n,) whether to read each, and their rate and range (cwa.h, `sampleRate`). The few at another rate are damaged.

    Raises:
        HarnetError: no block is of the header's session.
    """
    session, start = _SESSION_AND_START.unpack_from(header, _SESSION_AT)
    own = ~facts["foreign"]
    if not own.any():
        raise HarnetError(f"{tally.named}: all intact data blocks follow another header: split the file there")
    own &= facts["session"] == _own_session(session, facts["session"][own], tally.named)
    own &= ~_earlier(start, facts["stamp"], own)
    tally.add("other sessions", int((~own).sum()), f"blocks, of {len(own)}")
    # A recording has a single rate: a block with another one is damage that the checksum missed, but many are of
    # another recording with the same session number.
    code = _own_rate(header[_RATE_AT], facts["rate"][own])
    usable = own & (facts["rate"] == code)
    differ = int((own & ~usable).sum())
    if differ > max(1, REPAIR_SHARE * int(own.sum())):
        tally.add("other sessions", differ, f"blocks of another rate or range, of {len(own)}")
    return usable, code


def _own_session(session: int, sessions: NDArray[np.uint32], named: object) -> int:
    """The session to read. Blocks of others are left over in the device's memory, maybe from another wearer."""
    present = np.unique(sessions).tolist()
    if session in present:
        return session
    if len(present) == 1 and (session in UNKNOWN_SESSIONS or present[0] == 0):
        return int(present[0])
    others = ", ".join(map(str, present[:5])) + (", ..." if len(present) > 5 else "")
    raise HarnetError(
        f"{named}: the header is of session {session}, but the {len(sessions)} intact data blocks are of {others}: "
        "left over in a device that was not erased, they may be of another wearer; exclude it"
    )


def _earlier(start: int, stamps: NDArray[np.uint32], own: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Blocks from before the header's start of logging: of an earlier recording with the same session number.

    None if no start was set (0 or all ones), or if it is not credible, because they are few or almost all.
    """
    early: NDArray[np.bool_] = own & (stamps < start)
    few = max(1, REPAIR_SHARE * int(own.sum()))
    if not has_date(np.array([start], np.uint32))[0] or not few < early.sum() < own.sum() - few:
        early[:] = False
    return early


def _own_rate(code: int, codes: NDArray[np.uint8]) -> int:
    """The header's rate and range if more than a few blocks have them, else those of most blocks."""
    counts = np.bincount(codes, minlength=256)
    return code if counts[code] > max(1, REPAIR_SHARE * len(codes)) else int(counts.argmax())
