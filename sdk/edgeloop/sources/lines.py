"""Inputs from lines of JSON: a file, or standard input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

import msgspec

from edgeloop.sources.item import Item, SkippedItem
from edgeloop.sources.payload import from_json

__all__ = ["JsonLines"]

_READ_BYTES = 1 << 16


class JsonLines(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="jsonl"):
    """One input a line: a JSON list, or an object with `x` and, if it likes, `ref`.

    Args:
        path: the file; "-" is standard input.
        max_line_bytes: a longer line is skipped, so that a flood without an end of line doesn't fill the memory.
    """

    path: str = "-"
    max_line_bytes: int = 16 << 20

    def open(self) -> Iterator[Item]:
        """Open the file; a line without a `ref` is named by its number. One that doesn't parse is skipped.

        Raises:
            OSError: the file can't be read.
        """
        # No buffer of Python's: a thread that waits in one for a terminal can't be left behind when the process ends.
        path: str | int = 0 if self.path == "-" else self.path
        return self._items(open(path, "rb", buffering=0, closefd=self.path != "-"))

    def _items(self, file: BinaryIO) -> Iterator[Item]:
        with file:
            for number, line in enumerate(_lines(file, self.max_line_bytes), start=1):
                ref = f"line {number}"
                if line is None:
                    yield SkippedItem("a line that is too long", ref, f"more than {self.max_line_bytes} bytes")
                elif line.strip():
                    yield from_json(line, ref)


def _lines(file: BinaryIO, max_bytes: int) -> Iterator[bytes | None]:
    """Lines as soon as they are whole; None for one of more than `max_bytes`."""
    held, too_long = bytearray(), False
    while part := file.read(_READ_BYTES):
        *whole, rest = part.split(b"\n")
        for end in whole:
            held += end
            yield None if too_long or len(held) > max_bytes else bytes(held)
            held, too_long = bytearray(), False
        held += rest
        if len(held) > max_bytes:
            held, too_long = bytearray(), True
    if held or too_long:
        yield None if too_long else bytes(held)
