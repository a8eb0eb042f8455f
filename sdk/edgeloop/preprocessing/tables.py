"""Steps on rows of a table (n, columns): missing values, and categories."""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import InputError

__all__ = ["Category", "Impute", "Vocabulary"]

Floats = NDArray[np.float32]
Column = Annotated[int, msgspec.Meta(ge=0)]


class Impute(msgspec.Struct, frozen=True, tag="impute", tag_field="step", forbid_unknown_fields=True):
    """Replaces missing values (NaN) by a value per column, and appends a column of 0 and 1 that says where.

    What is missing seldom is so at random: the indicator keeps that visible to the model (Little and Rubin,
    "Statistical Analysis with Missing Data", 2019).

    `values` has one number a column; `indicators` lists the columns that get an indicator, appended in this order.
    """

    values: tuple[float, ...]
    indicators: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, self.values)):
            raise ValueError("impute needs finite values")
        if len(set(self.indicators)) != len(self.indicators) or any(c >= len(self.values) for c in self.indicators):
            raise ValueError(f"impute has {len(self.values)} columns, and indicators for {self.indicators}")

    def __call__(self, x: Floats) -> Floats:
        """(n, columns) to (n, columns + indicators). Raises `InputError` of another number of columns."""
        _check_columns(x, len(self.values))
        missing = np.isnan(x)
        filled = np.where(missing, np.array(self.values, dtype=np.float32), x)
        return np.concatenate([filled, missing[:, list(self.indicators)].astype(np.float32)], axis=1)


class Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of categories: `values` get the numbers 1, 2, …; all that isn't among them is unknown, 0."""

    column: Column
    values: tuple[str | int, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) != len(self.values):
            raise ValueError(f"the vocabulary of column {self.column} has no values, or one twice")
        if len({type(value) for value in self.values}) != 1:
            raise ValueError(f"the vocabulary of column {self.column} mixes strings and integers")

    @property
    def width(self) -> int:
        """The columns of its one-hot code, the unknown's first."""
        return len(self.values) + 1


class Vocabulary(msgspec.Struct, frozen=True, tag="vocabulary", tag_field="step", forbid_unknown_fields=True):
    """Replaces categories by their numbers, or by one-hot columns in their place.

    A column of strings makes all of the input an array of strings or objects, whose other columns are read as numbers
    (an empty string and None are missing, NaN); this must then be the first step. Integers are compared as float32, so
    they lie within ±2²⁴.
    """

    columns: tuple[Category, ...]
    one_hot: bool = False

    def __post_init__(self) -> None:
        places = [c.column for c in self.columns]
        if not places or len(set(places)) != len(places):
            raise ValueError("a vocabulary needs at least one column, and each once")
        if any(isinstance(v, int) and abs(v) > 1 << 24 for c in self.columns for v in c.values):
            raise ValueError("a vocabulary's integers must lie within ±2²⁴")

    def encode(self, x: NDArray[Any]) -> Floats:
        """Strings or objects (n, columns) as numbers, float32, the same shape: a string that is known by its number.

        Raises:
            InputError: another rank, too few columns, or text in a column of numbers.
        """
        self._check(x)
        texts = {c.column: c for c in self.columns if isinstance(c.values[0], str)}
        out = np.empty(x.shape, dtype=np.float32)
        for column in range(x.shape[1]):
            if column in texts:
                numbers = _numbers(texts[column].values)
                out[:, column] = [numbers.get(str(v), 0) for v in x[:, column]]
                continue
            try:
                out[:, column] = [math.nan if v is None or v == "" else float(v) for v in x[:, column]]
            except (TypeError, ValueError) as error:
                raise InputError(f"column {column} has no vocabulary of strings, and holds text: {error}") from error
        return out

    def __call__(self, x: Floats) -> Floats:
        """Numbers (n, columns), as `encode` gives them, to numbers or one-hot columns. Raises `InputError`."""
        self._check(x)
        columns = {c.column: c for c in self.columns}
        parts = []
        for place in range(x.shape[1]):
            column = x[:, place]
            if place in columns:
                column = self._numbered(columns[place], column)
            if place in columns and self.one_hot:
                parts.append((column[:, None] == np.arange(columns[place].width, dtype=np.float32)).astype(np.float32))
            else:
                parts.append(column[:, None])
        return np.concatenate(parts, axis=1)

    def _check(self, x: NDArray[Any]) -> None:
        last = max(c.column for c in self.columns)
        if x.ndim != 2 or x.shape[1] <= last:
            raise InputError(f"rows of at least {last + 1} columns are wanted, not inputs of shape {x.shape[1:]}")

    def _numbered(self, category: Category, column: Floats) -> Floats:
        if isinstance(category.values[0], str):  # `encode` has done it; what it can't have given is unknown
            whole = (column == np.floor(column)) & (column > 0) & (column < category.width)
            return np.where(whole, column, np.float32(0))
        values = np.array(category.values, dtype=np.float32)
        order = np.argsort(values)
        at = np.minimum(np.searchsorted(values[order], column), len(values) - 1)
        return np.where(values[order][at] == column, (order[at] + 1).astype(np.float32), np.float32(0))


def _check_columns(x: NDArray[Any], columns: int) -> None:
    if x.ndim != 2 or x.shape[1] != columns:
        raise InputError(f"rows of {columns} columns are wanted, not inputs of shape {x.shape[1:]}")


@functools.lru_cache(maxsize=64)
def _numbers(values: tuple[str | int, ...]) -> dict[str, int]:
    return {str(value): number for number, value in enumerate(values, start=1)}
