"""Inputs from the rows of a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO, Annotated, Literal

import msgspec
import numpy as np

from edgeloop.errors import DataError
from edgeloop.sources.item import Item, SkippedItem, SourceItem
from edgeloop.sources.pacing import paced

__all__ = ["CsvRows"]


class CsvRows(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="csv"):
    """The rows of a CSV file with a header, as float32 vectors (columns,).

    Args:
        path: the file, in UTF-8.
        columns: the columns' names, in the model's order; none means all.
        missing: what an empty cell does: "skip" its row, or be "nan" for an `Impute` step to fill.
        delimiter: what stands between cells.
        rate_hz: rows a second; None is as fast as they are taken.
    """

    path: str
    columns: tuple[str, ...] = ()
    missing: Literal["skip", "nan"] = "skip"
    delimiter: Annotated[str, msgspec.Meta(min_length=1, max_length=1)] = ","
    rate_hz: Annotated[float, msgspec.Meta(gt=0)] | None = None

    def open(self) -> Iterator[Item]:
        """Read the header; each row is named by its line. One with a cell that is no number is skipped.

        Raises:
            OSError: the file can't be read.
            DataError: no header, or a column isn't in it.
        """
        # What isn't UTF-8 becomes a character that is no digit, so that its row alone is skipped.
        file = open(self.path, newline="", encoding="utf-8-sig", errors="replace")  # noqa: PTH123, SIM115  # _rows closes it
        try:
            picks, width = self._picks(file)
        except BaseException:
            file.close()
            raise
        return paced(self._rows(file, picks, width), self.rate_hz)

    def _picks(self, file: IO[str]) -> tuple[list[int], int]:
        try:
            header = next(csv.reader([file.readline()], delimiter=self.delimiter), [])
        except (csv.Error, TypeError, ValueError) as error:  # the last two for a delimiter that can't be
            raise DataError(f"{self.path}: not a CSV file, or no delimiter {self.delimiter!r} ({error})") from error
        names = [name.strip() for name in header]
        lacking = [name for name in self.columns if name not in names]
        if lacking or not names:
            raise DataError(
                f"{self.path}: no column {lacking[0] if lacking else ''!r} in its header: {', '.join(names)}"
            )
        return [names.index(name) for name in self.columns or names], len(names)

    def _rows(self, file: IO[str], picks: list[int], width: int) -> Iterator[Item]:
        with file:
            reader = csv.reader(file, delimiter=self.delimiter)
            while True:
                try:
                    row = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    yield SkippedItem("not a CSV row", _line(reader.line_num), str(error))
                    continue
                if row:
                    yield self._item(row, picks, width, _line(reader.line_num))

    def _item(self, row: list[str], picks: list[int], width: int, ref: str) -> Item:
        if len(row) != width:
            return SkippedItem("a row of another length", ref, f"{len(row)} cells, the header has {width}")
        cells = [row[i] for i in picks]
        if self.missing == "nan":
            cells = [cell if cell.strip() else "nan" for cell in cells]
        try:
            return SourceItem(np.array([float(cell) for cell in cells], dtype=np.float32), ref)
        except (ValueError, OverflowError) as error:
            return SkippedItem("a cell that is no number", ref, str(error))


def _line(after_header: int) -> str:
    return f"line {after_header + 1}"
