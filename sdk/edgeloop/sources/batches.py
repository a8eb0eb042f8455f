"""Inputs from a file in batches, whatever its length: Parquet, CSV and NumPy."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError, MissingExtraError
from edgeloop.sources.arrays import load_array

__all__ = ["BATCH_SUFFIXES", "count_rows", "limited", "read_batches"]

BATCH_SUFFIXES = frozenset({".csv", ".npy", ".npz", ".parquet"})


def read_batches(path: str, rows: int, columns: Sequence[str] = ()) -> Iterator[NDArray[Any]]:
    """Batches of at most `rows` inputs, in the file's order.

    A table's numeric columns become float32 (n, columns); an empty cell is NaN, as is one that is no number. A Parquet
    column of fixed-size lists may stand alone: (n, length). NumPy arrays come as they are, `.npy` mapped from disk.

    Args:
        path: the file; its suffix says what it is.
        rows: the largest batch.
        columns: a table's columns, in the model's order; none means all.

    Raises:
        OSError, DataError: the file can't be read, isn't what its suffix says, or lacks a column.
        MissingExtraError: it is Parquet, and pyarrow isn't installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        return _parquet(path, rows, list(columns))
    if suffix == ".csv":
        return _csv(path, rows, columns)
    if suffix not in BATCH_SUFFIXES:
        raise DataError(f"{path}: no table to score in batches: {', '.join(sorted(BATCH_SUFFIXES))}")
    x = load_array(path)
    return (np.asarray(x[i : i + rows]) for i in range(0, len(x), rows))


def count_rows(path: str) -> int | None:
    """How many inputs a file has, where that can be told without reading it."""
    suffix = Path(path).suffix.lower()
    if suffix == ".parquet":
        with _open_parquet(path) as file:
            return int(file.metadata.num_rows)
    return None if suffix == ".csv" else len(load_array(path))


def limited(batches: Iterator[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """The first `rows` rows of `batches`."""
    for batch in batches:
        yield batch[:rows]
        rows -= len(batch)
        if rows <= 0:
            return


def _open_parquet(path: str) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("tables", "pyarrow") from error
    with Path(path).open("rb"):  # what isn't there is an OSError that names it
        try:
            return pq.ParquetFile(path, memory_map=False, pre_buffer=False)
        except pa.ArrowException as error:
            raise DataError(f"{path}: not a Parquet file ({error})") from error


def _parquet(path: str, rows: int, columns: list[str]) -> Iterator[NDArray[Any]]:
    file = _open_parquet(path)
    names = file.schema_arrow.names
    _check_columns(path, columns, names)
    return _parquet_batches(path, file, rows, columns or names)


def _parquet_batches(path: str, file: Any, rows: int, columns: list[str]) -> Iterator[NDArray[Any]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    with file:
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            parts = [batch.column(name) for name in columns]
            try:
                if len(parts) == 1 and pa.types.is_fixed_size_list(parts[0].type) and not parts[0].null_count:
                    yield parts[0].flatten().to_numpy(zero_copy_only=False).reshape(len(parts[0]), -1)
                else:
                    x = np.empty((batch.num_rows, len(parts)), np.float32)
                    for i, part in enumerate(parts):
                        x[:, i] = pc.cast(part, pa.float32(), safe=False).to_numpy(zero_copy_only=False)
                    yield x
            except pa.ArrowException as error:
                raise DataError(f"{path}: a column that holds no numbers ({error})") from error


def _csv(path: str, rows: int, columns: Sequence[str]) -> Iterator[NDArray[Any]]:
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:  # noqa: PTH123  # its name in messages
        names = [name.strip() for name in next(csv.reader(file), [])]
    _check_columns(path, columns, names)
    return _csv_batches(path, rows, [names.index(name) for name in columns or names])


def _csv_batches(path: str, rows: int, picks: list[int]) -> Iterator[NDArray[Any]]:
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as file:  # noqa: PTH123  # its name in messages
        reader = csv.reader(file)
        next(reader)
        held: list[list[float]] = []
        for row in _csv_rows(reader):
            if row:
                held.append([_number(row[i]) if i < len(row) else np.nan for i in picks])
            if len(held) == rows:
                yield np.array(held, np.float32)
                held = []
        if held:
            yield np.array(held, np.float32)


def _csv_rows(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield [""]  # a row of missing values, so that the others keep their places


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return np.nan


def _check_columns(path: str, wanted: Sequence[str], names: Sequence[str]) -> None:
    lacking = [name for name in wanted if name not in names]
    if lacking or not names:
        raise DataError(f"{path}: no column {', '.join(map(repr, lacking))} in it: it has {', '.join(names) or 'none'}")
