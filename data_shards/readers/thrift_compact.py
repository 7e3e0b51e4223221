"""Structs in the compact protocol of Apache Thrift, as in the metadata of Parquet files.

Format: doc/specs/thrift-compact-protocol.md of apache/thrift. Only the fields that are asked for are kept, so that
memory does not depend on what a damaged file claims to contain.
"""

from typing import Any

MAX_DEPTH = 16
BOOLEANS = (1, 2)
BYTE = 3
INTEGERS = (4, 5, 6)
DOUBLE = 7
BINARY = 8
LISTS = (9, 10)
STRUCT = 12

Wanted = dict[int, "Wanted"]
"""Fields to keep, by number; for a struct or a list of structs, the fields to keep in it, otherwise nothing."""


class Malformed(ValueError):
    """The bytes are not a struct."""


class Truncated(Malformed):
    """The struct is longer than the content."""


class CompactReader:
    """Reads structs one after the other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.at = 0
        """Position of the next byte."""

    def struct(self, wanted: Wanted, depth: int = 0) -> dict[int, Any]:
        """The wanted fields of the struct that begins here: numbers, structs and lists; None for text.

        Raises:
            Truncated: the content ends before the struct does. Malformed: it is not a struct.
        """
        if depth > MAX_DEPTH:
            raise Malformed("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while start := self._byte():
            number = number + (start >> 4) if start >> 4 else self._integer()
            value = self._value(start & 15, wanted.get(number), depth)
            if number in fields:
                raise Malformed(f"field {number} occurs twice")
            if number in wanted:
                fields[number] = value
        return fields

    def _value(self, kind: int, wanted: Wanted | None, depth: int) -> Any:
        if kind in INTEGERS:
            return self._integer()
        if kind in BOOLEANS:
            return None
        if kind == BYTE:
            return self._byte()
        if kind == STRUCT:
            return self.struct(wanted or {}, depth + 1)
        if kind in LISTS:
            return self._list(wanted, depth + 1)
        if kind not in (DOUBLE, BINARY):
            raise Malformed(f"a value of type {kind}")
        self._skip(8 if kind == DOUBLE else self._varint())
        return None

    def _list(self, wanted: Wanted | None, depth: int) -> list[Any] | None:
        head = self._byte()
        size = head >> 4 if head < 0xF0 else self._varint()
        kind = head & 15
        if depth > MAX_DEPTH:
            raise Malformed("nested too deeply")
        if kind in BOOLEANS:
            self._skip(size)
        elif wanted is not None:
            return [self._value(kind, wanted, depth) for _ in range(size)]
        else:
            for _ in range(size):
                self._value(kind, None, depth)
        return None

    def _byte(self) -> int:
        if self.at >= len(self._content):
            raise Truncated("cut off")
        byte = self._content[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Malformed("a number of more than 64 bits")

    def _integer(self) -> int:
        """Zigzag: 0, -1, 1, -2, ... are written as 0, 1, 2, 3, ..."""
        value = self._varint()
        return value >> 1 ^ -(value & 1)

    def _skip(self, size: int) -> None:
        self.at += size
        if self.at > len(self._content):
            raise Truncated("cut off")
