"""Foreign, repeated and misplaced blocks: which ones the .cwa reader uses and what it reports."""

import datetime
import struct
from pathlib import Path

import numpy as np
import pytest

from data_shards.notes import Note
from data_shards.readers import load
from data_shards.recording import Loaded
from harnet.errors import HarnetError
from tests.data_shards.test_readers_axivity import PER_BLOCK, START, block, counts, header, packed, write

DAY = 86_400


def resealed(broken: bytearray) -> bytes:
    struct.pack_into("<H", broken, 510, 0)
    struct.pack_into("<H", broken, 510, -int(np.frombuffer(broken, "<u2").sum(dtype=np.uint64)) % 65_536)
    return bytes(broken)


def changed(one: bytes, form: str, at: int, value: int) -> bytes:
    broken = bytearray(one)
    struct.pack_into(form, broken, at, value)
    return resealed(broken)


def recorded(path: Path, blocks: list[bytes]) -> Loaded:
    return next(load(write(path, blocks))).recording


@pytest.fixture
def blocks() -> list[bytes]:
    return [block(number, counts(number)) for number in range(200)]


@pytest.fixture
def others() -> list[bytes]:
    return [block(number, counts(1000 + number), number * 0.8 - 3 * DAY, session=3) for number in range(60)]


@pytest.mark.parametrize("place", ["before", "after", "in between"])
def test_only_the_headers_session_is_read(tmp_path: Path, blocks: list[bytes], others: list[bytes], place: str) -> None:
    whole = recorded(tmp_path / "whole.cwa", blocks)
    at = {"before": 0, "after": 200, "in between": 77}[place]
    recording = recorded(tmp_path / "two.cwa", blocks[:at] + others + blocks[at:])
    assert recording.notes == (Note("other sessions", 60, "blocks, of 260"),)
    np.testing.assert_array_equal(recording.times, whole.times)
    np.testing.assert_array_equal(recording.acceleration, whole.acceleration)


@pytest.mark.parametrize(("form", "at", "value"), [("<H", 5, 99), ("<I", 13, packed(START)), ("<B", 64, 0x20)])
def test_blocks_after_another_header_are_of_another_session(
    tmp_path: Path, blocks: list[bytes], form: str, at: int, value: int
) -> None:
    whole = recorded(tmp_path / "whole.cwa", blocks)
    another = bytearray(header())
    struct.pack_into(form, another, at, value)
    later = [bytes(another), *(block(number, counts(number), number * 0.8 + DAY) for number in range(60))]
    for order in ([*blocks, *later], [*blocks[:70], *later, header(), *blocks[70:]]):
        recording = recorded(tmp_path / "joined.cwa", order)
        assert recording.notes == (Note("other sessions", 60, "blocks, of 260"),)
        np.testing.assert_array_equal(recording.times, whole.times)
        np.testing.assert_array_equal(recording.acceleration, whole.acceleration)
    with pytest.raises(
        HarnetError, match=r"x\.cwa: all intact data blocks follow another header: split the file there"
    ):
        recorded(tmp_path / "x.cwa", later)


def test_none_of_the_headers_session_is_refused(tmp_path: Path, others: list[bytes]) -> None:
    with pytest.raises(HarnetError, match=r"x\.cwa: the header is of session 7, but the 60 intact .* of 3: left over"):
        recorded(tmp_path / "x.cwa", others)


def test_a_session_of_which_one_side_is_unknown(tmp_path: Path) -> None:
    unknown = [block(number, counts(number), session=0) for number in range(20)]
    assert recorded(tmp_path / "x.cwa", unknown).notes == ()
    path = tmp_path / "y.cwa"
    content = bytearray(header())
    struct.pack_into("<I", content, 7, 0)
    path.write_bytes(bytes(content) + b"".join(block(number, counts(number), session=9) for number in range(20)))
    assert next(load(path)).recording.notes == ()


@pytest.mark.parametrize(
    "how", ["file after file", "each block", "blocks after blocks", "a part", "one", "one before", "a part before"]
)
def test_blocks_that_are_there_twice_are_read_once(tmp_path: Path, blocks: list[bytes], how: str) -> None:
    whole = recorded(tmp_path / "whole.cwa", blocks)
    again, count = {
        "file after file": ([*blocks, header(), *blocks], 200),
        "each block": ([each for one in blocks for each in (one, one)], 200),
        "blocks after blocks": (blocks + blocks, 200),
        "a part": (blocks[:120] + blocks[100:], 20),
        "one": (blocks[:120] + blocks[30:31] + blocks[120:], 1),
        "one before": (blocks[:30] + blocks[120:121] + blocks[30:], 1),
        "a part before": (blocks[:30] + blocks[120:140] + blocks[30:], 20),
    }[how]
    recording = recorded(tmp_path / "twice.cwa", again)
    assert recording.notes == (Note("repeated blocks", count, f"blocks, of {200 + count}"),)
    np.testing.assert_array_equal(recording.times, whole.times)
    np.testing.assert_array_equal(recording.acceleration, whole.acceleration)


@pytest.mark.parametrize("days", [-400, -40, -0.01, 0.01, 40, 4000])
@pytest.mark.parametrize("at", [0, 1, 100, 198, 199])
def test_a_block_of_another_time_is_left_out(tmp_path: Path, blocks: list[bytes], at: int, days: float) -> None:
    whole = recorded(tmp_path / "whole.cwa", blocks)
    blocks[at] = block(at, counts(at), at * 0.8 + days * DAY)
    recording = recorded(tmp_path / "stray.cwa", blocks)
    (note,) = recording.notes
    assert (note.kind, note.count) == ("isolated stamps", 1)
    assert f"the first is number {at + 1}, stamped" in note.detail
    np.testing.assert_allclose(recording.times, np.delete(whole.times, slice(at * 80, at * 80 + 80)), atol=0.0101)


def test_more_than_a_hundredth_of_such_blocks_is_refused(tmp_path: Path, blocks: list[bytes]) -> None:
    for at in (20, 60, 150):
        blocks[at] = block(at, counts(at), at * 0.8 + 40 * DAY)
    with pytest.raises(
        HarnetError, match=r"x\.cwa: isolated stamps: 3 of 200, blocks; the first is number 21, stamped"
    ):
        recorded(tmp_path / "x.cwa", blocks)


@pytest.mark.parametrize(
    ("form", "at", "value", "message"),
    [
        ("<B", 24, 0, "200 carry rate code 0, as an early firmware wrote it"),
        ("<I", 14, 0, "200 carry no date"),
        ("<B", 25, 0x31, "200 are of a format"),
    ],
)
def test_sound_blocks_that_cannot_be_used_name_the_cause(
    tmp_path: Path, blocks: list[bytes], form: str, at: int, value: int, message: str
) -> None:
    with pytest.raises(HarnetError, match=rf"x\.cwa: no usable data block among 200 written: {message}") as caught:
        recorded(tmp_path / "x.cwa", [changed(each, form, at, value) for each in blocks])
    assert "copy" not in str(caught.value)
    recording = recorded(tmp_path / "x.cwa", [changed(blocks[0], form, at, value), *blocks[1:]])
    assert recording.notes == (Note("damaged blocks", 1, "of 200"),)


@pytest.mark.parametrize(
    ("form", "at", "value"),
    [
        ("<B", 24, 0x49),  # another rate
        ("<H", 28, 81),  # more samples than fit into the block
        ("<I", 14, packed(START.replace(month=3, day=1)) & ~(0x3FF << 17) | 2 << 22 | 30 << 17),  # 30 February
    ],
)
def test_what_a_sound_checksum_does_not_show(
    tmp_path: Path, blocks: list[bytes], form: str, at: int, value: int
) -> None:
    blocks[50] = changed(blocks[50], form, at, value)
    recording = recorded(tmp_path / "x.cwa", blocks)
    assert recording.notes == (Note("damaged blocks", 1, "of 200"),)
    assert len(recording.times) == 199 * PER_BLOCK


def test_a_value_beyond_the_devices_range_is_missing(tmp_path: Path, blocks: list[bytes]) -> None:
    blocks[50] = changed(blocks[50], "<h", 30 + 6 * 10, 30_000)
    recording = recorded(tmp_path / "x.cwa", blocks)
    assert recording.notes == (Note("absurd values", 1, "first 117.2 g at 2024-03-01 12:00:40, of a device of ±8 g"),)
    assert len(recording.times) == 200 * PER_BLOCK - 1
    assert np.abs(recording.acceleration).max() < 2


@pytest.mark.parametrize("at", [0, 100, 511, 512 * 57 + 200, 512 * 199 + 30])
@pytest.mark.parametrize("change", [-700, -100, -1, 1, 100, 513, 3000])
def test_blocks_after_lost_and_stray_bytes_are_found_again(
    tmp_path: Path, blocks: list[bytes], at: int, change: int
) -> None:
    whole = recorded(tmp_path / "whole.cwa", blocks)
    content = b"".join(blocks)
    content = content[:at] + b"\1" * max(change, 0) + content[at + max(-change, 0) :]
    recording = recorded(tmp_path / "shifted.cwa", [content])
    first, last = at // 512, min((at + max(-change, 0) - (change < 0)) // 512, 199)
    lost = range(first, last + 1) if at % 512 or change < 0 else range(0)
    np.testing.assert_array_equal(
        recording.acceleration, np.delete(whole.acceleration, slice(lost.start * 80, lost.stop * 80), axis=0)
    )
    assert {note.kind for note in recording.notes} <= {"damaged blocks", "cut end"}
    assert recording.notes


@pytest.mark.parametrize("value", [(0, 0, 0), (-500, 20, 400)])
def test_a_value_that_is_repeated_far_from_gravity_is_a_gap(
    tmp_path: Path, blocks: list[bytes], value: tuple[int, int, int]
) -> None:
    whole = recorded(tmp_path / "whole.cwa", blocks)
    for number in range(100, 150):
        blocks[number] = block(number, np.tile(value, (PER_BLOCK, 1)))
    recording = recorded(tmp_path / "x.cwa", blocks)
    (note,) = recording.notes
    assert (note.kind, note.count) == ("repeated fillers", 4000)
    np.testing.assert_array_equal(recording.times, np.delete(whole.times, slice(8000, 12_000)))
    still = [*blocks[:100], *(block(n, np.tile((0, 0, 251), (PER_BLOCK, 1))) for n in range(100, 150)), *blocks[150:]]
    assert recorded(tmp_path / "still.cwa", still).notes == ()


def test_most_blocks_of_rate_code_0(tmp_path: Path, blocks: list[bytes]) -> None:
    blocks[:150] = [changed(each, "<B", 24, 0) for each in blocks[:150]]
    with pytest.raises(HarnetError, match="only 50 usable data blocks among 200 written: 150 carry rate code 0"):
        recorded(tmp_path / "x.cwa", blocks)


@pytest.mark.parametrize(("first", "last", "days"), [(0, 20, -8000), (180, 200, 40), (100, 200, 0.05)])
def test_numbered_blocks_of_another_day_are_no_gap(
    tmp_path: Path, blocks: list[bytes], first: int, last: int, days: float
) -> None:
    blocks[first:last] = [block(n, counts(n), n * 0.8 + days * DAY) for n in range(first, last)]
    with pytest.raises(HarnetError, match=r"x\.cwa: the clock was set forward while recording: of the blocks, number"):
        recorded(tmp_path / "x.cwa", blocks)


@pytest.fixture
def unnumbered() -> list[bytes]:
    """Sixty blocks of three days before, with the session number of `blocks`."""
    return [block(number, counts(1000 + number), number * 0.8 - 3 * DAY) for number in range(60)]


def test_a_session_number_that_was_used_twice_is_noted(
    tmp_path: Path, blocks: list[bytes], unnumbered: list[bytes]
) -> None:
    recording = recorded(tmp_path / "x.cwa", unnumbered + blocks)
    where = "blocks; the first is number 61, stamped 2024-03-01 12:00:00 after 2024-02-27 12:00:47"
    assert recording.notes == (Note("numbered again", 1, where),)
    assert len(recording.times) == 260 * PER_BLOCK


@pytest.mark.parametrize(("start", "there"), [(START, 200), (START.replace(day=2), 260), (START.replace(month=2), 260)])
def test_blocks_from_before_the_start_of_logging_are_of_another_session(
    tmp_path: Path, blocks: list[bytes], unnumbered: list[bytes], start: datetime.datetime, there: int
) -> None:
    path = tmp_path / "x.cwa"
    head = bytearray(header())
    struct.pack_into("<I", head, 13, packed(start))
    path.write_bytes(bytes(head) + b"".join(unnumbered + blocks))
    recording = next(load(path)).recording
    assert len(recording.times) == there * PER_BLOCK
    (note,) = recording.notes
    assert (note.kind, note.count) == (("other sessions", 60) if there == 200 else ("numbered again", 1))
    path.write_bytes(bytes(head) + b"".join(blocks))
    assert next(load(path)).recording.notes == ()


@pytest.mark.parametrize("code", [0x49, 0x8A])
@pytest.mark.parametrize("older", [60, 300])
def test_blocks_of_another_setting_are_of_another_session(
    tmp_path: Path, blocks: list[bytes], older: int, code: int
) -> None:
    others = [block(number, counts(1000 + number), number * 0.8 - 3 * DAY, rate=code) for number in range(older)]
    whole = recorded(tmp_path / "whole.cwa", blocks)
    recording = recorded(tmp_path / "two.cwa", others + blocks)
    assert recording.notes == (
        Note("other sessions", older, f"blocks of another rate or range, of {older + len(blocks)}"),
    )
    np.testing.assert_array_equal(recording.times, whole.times)
    assert recording.range_g == 8


@pytest.mark.parametrize("byte", [b"\0", b"\xff"])
def test_blank_blocks_are_unused_memory_only_at_the_end(tmp_path: Path, blocks: list[bytes], byte: bytes) -> None:
    blank = [byte * 512] * 40
    recording = recorded(tmp_path / "x.cwa", [*blocks[:50], *blank, *blocks[90:], *blank])
    assert recording.notes == (Note("damaged blocks", 40, "of 200"),)
    assert len(recording.times) == 160 * PER_BLOCK
    recording = recorded(tmp_path / "twice.cwa", [*blocks, *blank, header(), *blocks, *blank])
    assert recording.notes == (Note("repeated blocks", 200, "blocks, of 400"),)


@pytest.mark.parametrize("since", [0, 100, 190])
def test_a_clock_that_stood_still_is_refused(tmp_path: Path, blocks: list[bytes], since: int) -> None:
    still = [block(number, counts(number), since * 0.8) for number in range(since, 200)]
    with pytest.raises(
        HarnetError, match=rf"x\.cwa: the clock stood still .* {200 - since} of 200 .* number {since + 1} on"
    ):
        recorded(tmp_path / "x.cwa", blocks[:since] + still)


def test_a_temperature_that_cannot_be_is_left_out(tmp_path: Path, blocks: list[bytes]) -> None:
    blocks = [changed(each, "<H", 20, 1023 if number == 50 else 256) for number, each in enumerate(blocks)]
    recording = recorded(tmp_path / "x.cwa", blocks)
    assert recording.notes == (Note("missing temperatures", 1, "the first 249.7 °C at 2024-03-01 12:00:40"),)
    assert recording.temperature is not None
    assert recording.temperature.celsius.tolist() == [25] * 199


@pytest.mark.parametrize("how", ["halves", "backwards", "pairs"])
def test_blocks_that_are_not_in_the_order_of_their_numbers_are_refused(
    tmp_path: Path, blocks: list[bytes], how: str
) -> None:
    mixed, first = {
        "halves": (blocks[100:] + blocks[:100], 101),
        "backwards": (blocks[::-1], 2),
        "pairs": ([each for at in range(0, 200, 2) for each in (blocks[at + 1], blocks[at])], 2),
    }[how]
    with pytest.raises(
        HarnetError, match=rf"x\.cwa: the blocks are not in the order .*: number {first} is .*: copy the"
    ):
        recorded(tmp_path / "x.cwa", mixed)
