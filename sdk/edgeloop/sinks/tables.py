"""Scores as a file: Parquet, CSV or JSON lines. The file is there when it is whole, and not before."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeAlias

import msgspec
import numpy as np

from edgeloop.errors import DataError, MissingExtraError
from edgeloop.files import sync_directory
from edgeloop.scoring import Scores

__all__ = ["open_table"]

Writer: TypeAlias = Callable[[Scores], None]


class _Table:
    """Gives each batch to `add`."""

    def __init__(self, add: Writer) -> None:
        self.write = add


@contextmanager
def open_table(path: str) -> Iterator[_Table]:
    """Open a table for writing; its suffix says which: `.parquet`, `.csv` or `.jsonl`.

    It is written beside `path` and renamed over it at the end; an exception leaves what was there. A row without an
    answer has empty cells, or nulls.

    Raises:
        OSError: it can't be written.
        DataError: another suffix.
        MissingExtraError: it is Parquet, and pyarrow isn't installed.
    """
    target = Path(path)
    kinds = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    kind = kinds.get(target.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: name it {', '.join(f'*{suffix}' for suffix in kinds)}")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            with kind(file) as add:
                yield _Table(add)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


@contextmanager
def _parquet(file: IO[bytes]) -> Iterator[Writer]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("tables", "pyarrow") from error
    writer: Any = None

    def add(scores: Scores) -> None:
        nonlocal writer
        arrays = {name: pa.array(x, mask=~scores.is_valid) for name, x in scores.columns.items()}
        batch = pa.record_batch(arrays)
        if writer is None:
            writer = pq.ParquetWriter(file, batch.schema)
        writer.write_batch(batch)

    try:
        yield add
    finally:
        if writer is not None:
            writer.close()


@contextmanager
def _csv(file: IO[bytes]) -> Iterator[Writer]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    rows = csv.writer(text, lineterminator="\n")
    is_first = True

    def add(scores: Scores) -> None:
        nonlocal is_first
        if is_first:
            rows.writerow(scores.columns)
            is_first = False
        rows.writerows(_rows(scores))

    try:
        yield add
    finally:
        text.detach()


@contextmanager
def _jsonl(file: IO[bytes]) -> Iterator[Writer]:
    encoder = msgspec.json.Encoder()

    def add(scores: Scores) -> None:
        names = list(scores.columns)
        file.write(b"".join(encoder.encode(dict(zip(names, row, strict=True))) + b"\n" for row in _rows(scores)))

    yield add


def _rows(scores: Scores) -> Iterator[list[Any]]:
    columns = [_plain(x) for x in scores.columns.values()]
    nothing = [None] * len(columns)
    for is_valid, *row in zip(scores.is_valid.tolist(), *columns, strict=True):
        yield row if is_valid else nothing


def _plain(x: np.ndarray[Any, Any]) -> list[Any]:
    values: list[Any] = x.tolist()
    if x.dtype.kind != "f":
        return values
    return [float(f"{value:.7g}") for value in values]  # what float32 holds, and no noise
