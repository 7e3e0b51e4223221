"""Selects the data blocks of an Axivity file that are intact and belong to the header's session, in order of time.

Layout: `cwa.h` in the Open Movement project. The header of 1,024 bytes begins with "MD"; data blocks of 512 bytes begin
with "AX". The 16-bit little-endian words of an intact block sum to 0 modulo 65,536.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data_shards.readers.axivity_sessions import of_session
from data_shards.readers.axivity_times import anchor, has_date, seconds
from data_shards.readers.oddities import Tally
from data_shards.readers.order import Pieces, in_order
from harnet.errors import HarnetError

HEADER_BYTES = 1024
BLOCK_BYTES = 512
HEADER_START = b"MD\xfc\x03"
"""Tag and length (1,020) of the header."""
BLOCK_START = b"AX\xfc\x01"
"""Tag and length (508) of a data block."""
CAPACITY = {0x30: 120, 0x32: 80, 0x62: 40, 0x92: 26}
"""Axes and packing (`numAxesBPS`, as cwa.h defines it) → number of samples in a full block."""
BLANK, HEADER = 1, 2
"""What a file holds besides data blocks: unused memory, one byte repeated (0x00 or 0xFF), and appended headers."""

BLOCKS_AT_A_TIME = 2048
"""A quarter of a million samples: decoding a week at 100 Hz needs hardly more memory than the result."""
FEW_BLOCKS = 32

_FACTS = np.dtype(
    [
        ("place", "<i8"),
        ("session", "<u4"),
        ("sequence", "<u4"),
        ("stamp", "<u4"),
        ("fractional", "<u2"),
        ("thermometer", "<u2"),
        ("rate", "u1"),
        ("offset", "<i2"),
        ("count", "<u2"),
        ("checksum", "<u2"),
        ("foreign", "?"),
    ]
)
"""Fields of a block (`cwa_data_t`) that are kept until blocks are chosen, and whether the last header before it is
another one than the file's."""
_PLACES = {"fractional": 4, "session": 6, "sequence": 10, "stamp": 14, "offset": 26, "count": 28, "checksum": 510}
"""Byte offsets in a block of the fields that are copied unchanged."""


@dataclass(frozen=True)
class Blocks:
    """Contents of the data blocks, apart from the samples."""

    chosen: NDArray[np.bool_]
    """(blocks,) whether the block is decoded."""
    alone: bool
    """Whether the file consists of its header and the chosen blocks only."""
    written: int
    """Number of blocks that the device wrote; blank ones at the end are unused memory."""
    counts: NDArray[np.int64]
    """(chosen blocks,) number of samples in each."""
    anchor_times: NDArray[np.float64]
    """(chosen blocks,) time in seconds of one sample of each block, its anchor."""
    anchor_samples: NDArray[np.int64]
    """(chosen blocks,) index of that sample, counted from the block's first."""
    thermometer: NDArray[np.uint16]
    """(chosen blocks,) raw 10-bit temperature reading; 0 if there is none."""
    rate_code: int
    """Rate and range of the chosen blocks: the header states them too, but has no checksum."""

    @property
    def rate(self) -> float:
        """Samples per second (cwa.h, `sampleRate`)."""
        return rate_of(self.rate_code)

    @property
    def range_g(self) -> float:
        """Full scale in g (cwa.h, `sampleRate`)."""
        return float(16 >> (self.rate_code >> 6))


def rate_of(code: int) -> float:
    """Samples per second (cwa.h, `sampleRate`)."""
    return 3200 / (1 << 15 - (code & 0x0F))


def choose_blocks(path: Path, tally: Tally) -> Blocks:
    """Check every data block, and choose those of the header's session, each once, in order of time.

    Raises:
        HarnetError: the header is damaged, no block is usable, or the clock was reset.
    """
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(HEADER_START):
        raise HarnetError(f"{path}: the header (first 1,024 bytes) is damaged: copy the file again")
    intact, facts, written, useless, end = _checked(path, header)
    if not written:
        raise HarnetError(
            f"{path}: no data block after the header: copy the file again from the device; if it recorded nothing, "
            "exclude it"
        )
    if not len(facts) or sum(useless.values()) > len(facts):
        found = f"only {len(facts)} usable data blocks" if len(facts) else "no usable data block"
        raise HarnetError(f"{path}: {found} among {written} written{_cause(useless)}")
    usable, code = of_session(header, facts, tally)
    damaged = len(usable) - int(usable.sum()) - tally.count("other sessions")
    tally.add("damaged blocks", written - int(intact.sum()) + damaged, f"of {written}")
    mine = facts[usable]
    stamps = seconds(mine["stamp"])
    sequence = mine["sequence"].astype(np.int64)
    identities = sequence << 32 | mine["stamp"] ^ mine["checksum"].astype(np.uint32) << 16
    ordered = in_order(
        Pieces("blocks", stamps - mine["offset"] / rate_of(code), identities, mine["place"], sequence), tally
    )
    usable[usable] = ordered
    intact[intact] = usable
    mine, stamps = mine[ordered], stamps[ordered]
    times, samples = anchor(stamps, mine["fractional"], mine["offset"], rate_of(code))
    size = path.stat().st_size
    tally.add("cut end", int(end < size), "within a data block")
    alone = bool(intact.all()) and size == HEADER_BYTES + BLOCK_BYTES * len(intact)
    return Blocks(intact, alone, written, mine["count"].astype(np.int64), times, samples, mine["thermometer"], code)


def copy_blocks(path: Path, target: Path, keep: NDArray[np.bool_]) -> None:
    """Write only the header and these blocks."""
    with path.open("rb") as source, target.open("wb") as written:
        written.write(source.read(HEADER_BYTES))
        done = 0
        for _, blocks in _blocks(path):
            written.write(blocks[keep[done : done + len(blocks)]].tobytes())
            done += len(blocks)


def _checked(path: Path, header: bytes) -> tuple[NDArray[np.bool_], NDArray[np.void], int, Counter[str], int]:
    """Mask of usable blocks, their fields, number written, number per reason of unusable ones, and end of the last."""
    intact: list[NDArray[np.bool_]] = [np.zeros(0, bool)]
    facts: list[NDArray[np.void]] = [np.zeros(0, _FACTS)]
    useless: Counter[str] = Counter()
    empty: list[NDArray[np.int8]] = [np.zeros(0, np.int8)]
    in_header = foreign = False
    end = HEADER_BYTES
    for offset, blocks in _blocks(path):
        end = offset + blocks.size
        words = blocks.view("<u2")
        whole = (blocks[:, :4] == np.frombuffer(BLOCK_START, np.uint8)).all(axis=1)
        whole &= (words.sum(axis=1, dtype=np.uint32) & 0xFFFF) == 0
        # A single block without a time, or in an unknown format, makes the library reject the whole file.
        lacks = {
            "rate": blocks[:, 24] == 0,
            "date": ~has_date(np.ascontiguousarray(blocks[:, 14:18]).view("<u4")[:, 0]),
            "format": ~np.isin(blocks[:, 25], list(CAPACITY)),
        }
        usable = whole & (words[:, 14] <= _capacity(blocks[:, 25]))
        for what, lacking in lacks.items():
            useless[what] += int((usable & lacking).sum())
            usable &= ~lacking
        # If another file was appended, its header is in between; it is as long as two blocks.
        headers = (blocks[:, :4] == np.frombuffer(HEADER_START, np.uint8)).all(axis=1)
        follows = np.full(len(blocks), foreign)
        for first in np.flatnonzero(headers):
            foreign = follows[first:] = blocks[first].tobytes() != header[:BLOCK_BYTES]
        headers[1:] |= headers[:-1]
        headers[0] |= in_header
        in_header = bool(headers[-1]) and blocks[-1, :4].tobytes() == HEADER_START
        blank = (blocks == blocks[:, :1]).all(axis=1) & np.isin(blocks[:, 0], (0x00, 0xFF))
        empty.append(np.where(usable, 0, np.where(headers, HEADER, np.where(blank, BLANK, 0))).astype(np.int8))
        facts.append(_facts(blocks[usable], sum(map(len, intact)) + np.flatnonzero(usable)))
        facts[-1]["foreign"] = follows[usable]
        intact.append(usable)
    kept = np.concatenate(intact)
    return kept, np.concatenate(facts), _number_written(np.concatenate(empty), kept), useless, end


def _number_written(empty: NDArray[np.int8], usable: NDArray[np.bool_]) -> int:
    """Number of blocks that the device wrote; `empty` is BLANK or HEADER where there is no block.

    Memory is used from its start, so blank blocks before a usable one were lost in copying.
    """
    index = np.arange(len(empty))
    usable_next, header_next = (
        np.minimum.accumulate(np.where(each, index, len(index))[::-1])[::-1] for each in (usable, empty == HEADER)
    )
    lost = (empty == BLANK) & (usable_next < np.minimum(header_next, len(index)))
    return int((lost | (empty == 0)).sum())


def _capacity(formats: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number of samples in a full block of each format; no limit for unknown formats."""
    most = np.full(256, 0xFFFF)
    most[list(CAPACITY)] = list(CAPACITY.values())
    return most[formats]


def _facts(blocks: NDArray[np.uint8], places: NDArray[np.int64]) -> NDArray[np.void]:
    facts = np.empty(len(blocks), _FACTS)
    facts["place"] = places
    for name, at in _PLACES.items():
        width = _FACTS[name].itemsize
        facts[name] = np.ascontiguousarray(blocks[:, at : at + width]).view(_FACTS[name])[:, 0]
    facts["thermometer"] = blocks.view("<u2")[:, 10] & 0x3FF
    facts["rate"] = blocks[:, 24]
    return facts


def _cause(useless: Counter[str]) -> str:
    """Why blocks with a valid checksum are unusable, and what helps."""
    what = max(useless, key=lambda cause: useless[cause], default="")
    if not useless[what]:
        return ": copy the file again"
    count = useless[what]
    return {
        "rate": f": {count} carry rate code 0, as an early firmware wrote it, which does not tell the rate: export the "
        "file as raw .csv with OMGUI, the maker's program, and ingest that",
        "date": f": {count} carry no date, since the device's clock was never set: exclude it",
        "format": f": {count} are of a format that cwa.h does not define: exclude it",
    }[what]


def _blocks(path: Path) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """Whole data blocks, (up to BLOCKS_AT_A_TIME, 512) bytes, and their offset; a partial one at the end is left out.

    If a faulty copy lost or inserted some bytes, the following blocks are shifted: the next intact one is searched for.
    """
    offset = HEADER_BYTES
    most = BLOCKS_AT_A_TIME
    with path.open("rb") as file:
        while True:
            file.seek(offset)
            data = file.read(most * BLOCK_BYTES)
            if len(data) < BLOCK_BYTES:
                return
            stop, following = _aligned(data)
            # One misaligned place is often followed by more: do not reread a megabyte for each of them.
            most = min(2 * most, BLOCKS_AT_A_TIME) if stop == following else FEW_BLOCKS
            yield offset, np.frombuffer(data, np.uint8, count=stop).reshape(-1, BLOCK_BYTES)
            offset += following


def _aligned(data: bytes) -> tuple[int, int]:
    """End of the contiguous blocks at the start of `data`, and the start of the next block, which may be misaligned."""
    whole = len(data) // BLOCK_BYTES * BLOCK_BYTES
    blocks = np.frombuffer(data, np.uint8, count=whole).reshape(-1, BLOCK_BYTES)
    tagged = (blocks[:, :4] == np.frombuffer(BLOCK_START, np.uint8)).all(axis=1)
    at = 0
    while len(strange := np.flatnonzero(~tagged[at // BLOCK_BYTES :])):
        first = at + int(strange[0]) * BLOCK_BYTES
        # The previous block may be the one that lost bytes.
        at = data.find(BLOCK_START, max(first - BLOCK_BYTES + 1, 1))
        while 0 <= at <= len(data) - BLOCK_BYTES and at % BLOCK_BYTES and not _adds_up(data, at):
            at = data.find(BLOCK_START, at + 1)  # the tag occurred by chance among the samples
        if at < 0:
            break
        if at % BLOCK_BYTES:
            return (first if at < first else first + BLOCK_BYTES), at
        if at >= whole:
            break
    return whole, whole


def _adds_up(data: bytes, at: int) -> bool:
    """Whether the words of a block sum to 0, as its checksum requires."""
    return not int(np.frombuffer(data[at : at + BLOCK_BYTES], "<u2").sum(dtype=np.uint32)) & 0xFFFF
