"""Turns lines of text into columns of cells, and cells into numbers; anything else is counted and dropped."""

import io
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
from numpy.typing import NDArray

from data_shards.readers.oddities import Tally
from data_shards.readers.tables.dialect import Dialect, split, without_spaces
from data_shards.readers.tables.lines import LF, LineChunk
from data_shards.readers.tables.stamps import LONGEST_STAMP
from harnet.errors import HarnetError

NO_VALUE = (
    *("", '""', "nan", "NaN", "NAN", "na", "NA", "n/a", "N/A", "<NA>", "null", "NULL", "nil", "None"),
    *("-", "--", "?", ".", "*", "#N/A", "#NUM!", "#VALUE!", "#DIV/0!", "#REF!", "1.#QNAN", "-1.#IND"),
)
"""Representations of a missing value."""

TAIL_BYTES = 1 << 14
"""Bytes at the end of a file whose lines are compared with the last line, to see whether that was cut off."""

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_NUMBERS = re.compile(r"[\d.,;|eE+\- \t\"]*\d[\d.,;|eE+\- \t\"]*")
_DIGITS = re.compile(r"\d+")
_ASCII = bytes(range(128)) + b"?" * 128
_WHITE = re.compile(rb"[ \t]+")


class Cells:
    """Extracts the cells of some columns from the chunks of a text table."""

    def __init__(self, dialect: Dialect, places: Sequence[int], tally: Tally) -> None:
        # Rows may be shorter than the header row; then none of them is a row of the table.
        self._fields = [f"{field}" for field in range(max(dialect.fields, max(places) + 1))]
        self._tally = tally
        self._names = [f"{place}" for place in places]
        self._separator = dialect.separator
        self._counted = len(places) == 3
        self._needs_last_cell = max(places) >= dialect.fields - 1
        self._heading = dialect.heading
        self._convert = pcsv.ConvertOptions(
            include_columns=self._names,
            column_types=dict.fromkeys(self._names, pa.string()),
            null_values=list(NO_VALUE),
            strings_can_be_null=True,
            check_utf8=False,
        )
        self._odd: list[str] = []
        self._before = b""

    def columns(self, piece: LineChunk) -> tuple[NDArray[np.int64], list[pa.Array]]:
        """The line number of each row, (n,), and the cells of each column as strings, null where there is none.

        Raises:
            HarnetError: there is another header, below which times and device are those of another recording.
        """
        self._refuse_joined(piece)
        content = self._ending_whole(piece)
        blank = _blank_lines(content.rstrip() if piece.last else content)
        self._tally.add("blank lines", blank)
        content = self._plain(content)
        quoted = b'"' in content
        if quoted:
            content = _without_open_quotes(content)
        if not content.strip():
            return np.zeros(0, np.int64), [pa.array([], pa.string())] * len(self._names)
        table = self._table(content, quoted)
        if self._counted and any(map(_is_torn, self._odd)):
            content = self._without_torn(content)
            table = self._table(content, quoted)
        columns = [table[name].combine_chunks() for name in self._names]
        columns = [pa.concat_arrays(each.chunks) if isinstance(each, pa.ChunkedArray) else each for each in columns]
        if self._odd or blank:
            number = self._numbered(content, piece.first_line, table.num_rows)
        else:
            number = np.arange(piece.first_line, piece.first_line + table.num_rows)
        return number, columns

    def _table(self, content: bytes, quoted: bool) -> pa.Table:
        self._odd = []
        return pcsv.read_csv(
            io.BytesIO(content),
            read_options=pcsv.ReadOptions(
                use_threads=False,
                block_size=len(content) + 1,
                column_names=self._fields,
            ),
            # Not stored: the garbage collector cannot see Arrow's reference to its handler, so each file would leak.
            parse_options=pcsv.ParseOptions(
                delimiter=self._separator, quote_char='"' if quoted else False, invalid_row_handler=self._foreign
            ),
            convert_options=self._convert,
        )

    def _without_torn(self, content: bytes) -> bytes:
        """Content in which rows of too few or too many numbers are rows without values: each was a sample, and samples
        are counted."""
        torn = {text.rstrip("\r\n").encode("latin-1") for text in self._odd if _is_torn(text)}
        empty = self._separator.encode().join([b"nan"] * len(self._fields))
        return LF.join(empty if line.removesuffix(b"\r") in torn else line for line in content.split(LF))

    def _refuse_joined(self, piece: LineChunk) -> None:
        place = piece.content.find(self._heading) if self._heading else -1
        if place >= 0:
            raise HarnetError(
                f"{self._tally.named}: line {piece.first_line + piece.content.count(LF, 0, place):,} is the header of "
                "another recording: files were joined: split it there"
            )

    def _foreign(self, row: pcsv.InvalidRow) -> str:
        if row.text.strip():
            self._odd.append(row.text)
        else:
            self._tally.add("blank lines")
        return "skip"

    def _ending_whole(self, piece: LineChunk) -> bytes:
        """The content, without its last line if that was cut off."""
        content = piece.content
        if content.endswith(LF):
            self._before = content[-TAIL_BYTES:]
            return content
        *others, last = (self._before + content)[-TAIL_BYTES:].decode("latin-1").split("\n")
        if last.strip() and self._is_cut(last, others[1:]):  # the first one is probably partial
            self._tally.add("cut end", 1, f"line {piece.first_line + content.count(LF):,}")
            return content[: len(content) - len(last)]
        return content + LF

    def _is_cut(self, last: str, others: Sequence[str]) -> bool:
        """Whether cells of the last line are missing, or its last cell may lack digits: 0.9 of 0.98 is a number too."""
        rows = [split(line, self._separator) for line in others if line.strip()]
        cells = split(last, self._separator)
        usual = Counter(map(len, rows)).most_common(1)[0][0] if rows else len(cells)
        if len(cells) != usual:
            return len(cells) < usual
        closed = last.rstrip().endswith('"') and last.count('"') % 2 == 0
        if closed or not rows or not self._needs_last_cell:
            return False
        ends = [row[-1] for row in rows if len(row) == usual]
        return _last_digits(cells[-1]) < max(map(_last_digits, ends)) or _form(cells[-1]) not in map(_form, ends)

    def _plain(self, content: bytes) -> bytes:
        """Content with decimal points, single separators, and no characters that Arrow would have to decode."""
        if not content.isascii():
            content = content.translate(_ASCII)
        if self._separator == " ":
            lines = _WHITE.sub(b" ", without_spaces(content)).split(LF)
            content = LF.join(line.strip() for line in lines)
        if self._separator != "," and b"," in content:
            content = content.replace(b",", b".")
        return content

    def _numbered(self, content: bytes, first_line: int, rows: int) -> NDArray[np.int64]:
        """Line numbers of the rows if some lines are not rows; these were found in order."""
        odd = iter(self._odd)
        expected = next(odd, None)
        numbers = []
        for number, line in enumerate(content.split(LF), first_line):
            text = line.removesuffix(b"\r")
            if not text.strip():
                continue
            if expected is not None and text.decode("latin-1") == expected.rstrip("\r\n"):
                self._tally.add("foreign lines", 1, f"the first in line {number:,}")
                expected = next(odd, None)
                continue
            numbers.append(number)
        missed = 0 if expected is None else 1 + sum(1 for _ in odd)
        self._tally.add("foreign lines", missed, f"the first after line {first_line - 1:,}")
        numbers += [numbers[-1] if numbers else first_line] * (rows - len(numbers))
        return np.array(numbers[:rows], np.int64)


def _is_torn(line: str) -> bool:
    """Whether a line that is no row of the table consists of numbers."""
    return bool(_NUMBERS.fullmatch(line.strip()))


def _blank_lines(content: bytes) -> int:
    """Number of empty lines."""
    count = content.count(b"\n\n") + content.count(b"\n\r\n") + content.startswith((b"\n", b"\r\n"))
    return count if count == 0 else sum(line in (b"", b"\r") for line in content.removesuffix(LF).split(LF))


def _without_open_quotes(content: bytes) -> bytes:
    """Content without the quotes in lines with an odd number of them, which would take in the lines after them."""
    characters = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(characters == ord("\n")) + 1
    starts = np.concatenate([[0], ends[ends < len(characters)]])
    odd = np.flatnonzero(np.add.reduceat((characters == ord('"')).view(np.uint8), starts, dtype=np.uint8) % 2)
    if not len(odd):
        return content
    plain = bytearray(content)
    for start, stop in zip(starts[odd], np.append(starts, len(content))[odd + 1], strict=True):
        plain[start:stop] = plain[start:stop].replace(b'"', b" ")
    return bytes(plain)


def _last_digits(cell: str) -> int:
    return len(cell) - len(cell.rstrip("0123456789"))


def _form(cell: str) -> str:
    """What a number looks like apart from its digits and sign."""
    return _DIGITS.sub("0", cell.lstrip("+-"))


def numbers(column: pa.Array) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Numbers (n,) in a column of strings, NaN where missing; and a mask of texts that are neither."""
    try:
        return _float(column), np.zeros(len(column), bool)
    except pa.ArrowInvalid:
        column = pc.replace_substring(pc.utf8_trim_whitespace(column), ",", ".", max_replacements=1)
        is_number = pc.match_substring_regex(column, _NUMBER)
        infinite = pc.match_substring_regex(column, r"^[+-]?(inf|infinity|1\.#INF)$", ignore_case=True)
        absent = pc.is_in(column, pa.array(NO_VALUE))
        odd = pc.fill_null(pc.invert(pc.or_(is_number, pc.or_(absent, infinite))), False)
        values = _float(pc.if_else(is_number, column, None))
        return values, odd.to_numpy(zero_copy_only=False)


def texts(column: pa.Array) -> NDArray[np.bytes_]:
    """A column of strings as stripped fixed-width bytes (n,); empty where missing, or far too long."""
    column = pc.fill_null(column, "")
    long = pc.greater(pc.binary_length(column), LONGEST_STAMP)
    if pc.any(long).as_py():
        column = pc.if_else(long, "", column)
    width = pc.max(pc.binary_length(column)).as_py() or 1
    lengths = pc.binary_length(column).to_numpy(zero_copy_only=False)
    if (lengths == width).all():
        _, _, data = column.buffers()
        start = int(np.frombuffer(column.buffers()[1], np.int32)[column.offset])
        fixed = np.frombuffer(data, np.uint8, width * len(column), start).view(f"S{width}")
    else:
        fixed = np.array(column.cast(pa.binary()).to_pylist(), f"S{width}")
    blank = b' \t"'
    if any(text[:1] in (b" ", b"\t", b'"') or text[-1:] in (b" ", b"\t", b'"') for text in fixed[[0, -1]].tolist()):
        fixed = np.array([text.strip(blank) for text in fixed.tolist()], f"S{width}")
    return fixed


def _float(column: pa.Array) -> NDArray[np.float64]:
    values: NDArray[np.float64] = pc.fill_null(pc.cast(column, pa.float64()), np.nan).to_numpy(zero_copy_only=False)
    return values
