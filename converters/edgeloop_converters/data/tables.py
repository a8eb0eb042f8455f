"""Reading CSV and Parquet into columns, and columns into a matrix of numbers."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from edgeloop.errors import DataError, MissingExtraError
from edgeloop_converters.data.dataset import Array, Skipped

__all__ = ["column_of", "order_column", "read_csv", "read_parquet", "to_matrix"]


def read_csv(path: Path) -> tuple[dict[str, Array], tuple[Skipped, ...]]:
    """The columns of a comma-separated UTF-8 file with a header, by name.

    A column whose cells are all numbers (or empty: NaN) is float64, any other is text. A row with too few
    or too many cells is skipped and counted.

    Raises:
        DataError: no header, a name twice, not UTF-8, or no rows.
    """
    rows: list[list[str]] = []
    skipped = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            for row in reader:
                if len(row) == len(header):
                    rows.append(row)
                elif row:
                    reason = f"{len(row)} cells, but the header has {len(header)}"
                    skipped.append(Skipped(f"{path}:{reader.line_num}", reason))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as a UTF-8 CSV file ({error})") from error
    if not header:
        raise DataError(f"{path}: is empty; the first line must name the columns")
    if len(set(header)) < len(header):
        twice = sorted({name for name in header if header.count(name) > 1})
        raise DataError(f"{path}: the header names columns {twice} more than once; rename them")
    if not rows:
        first = f"; the first of {len(skipped)} skipped: {skipped[0].what}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{path}: no rows under the header{first}")
    return {n: parse_cells(c) for n, c in zip(header, zip(*rows, strict=True), strict=True)}, tuple(skipped)


def parse_cells(cells: Sequence[str]) -> Array:
    try:
        return np.array([float(c) if c.strip() else np.nan for c in cells], np.float64)
    except ValueError:
        return np.array([c.strip() for c in cells], np.str_)


def read_parquet(path: Path) -> dict[str, Array]:
    """The columns of a Parquet file by name; numbers are float64 (null: NaN), text stays (null: "").

    Raises:
        DataError: not a Parquet file, no rows, or a column of another type (lists, structs, bytes).
        MissingExtraError: pyarrow isn't installed.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("convert", "pyarrow") from error
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: can't be read as Parquet ({error})") from error
    if table.num_rows == 0:
        raise DataError(f"{path}: no rows")
    columns: dict[str, Array] = {}
    for name in table.column_names:
        column, kind = table.column(name), table.schema.field(name).type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            columns[name] = np.asarray(column.cast(pa.float64()).to_numpy(), np.float64)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            columns[name] = np.array([v or "" for v in column.to_pylist()], np.str_)
        elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
            columns[name] = np.array(["" if v is None else v.isoformat() for v in column.to_pylist()], np.str_)
        else:
            raise DataError(f"{path}: column {name!r} is {kind}; only numbers, text and times can be read")
    return columns


def column_of(columns: Mapping[str, Array], name: str, source: str, role: str) -> Array:
    """One column by name.

    Raises:
        DataError: there is none; the message lists those that there are.
    """
    if name not in columns:
        listed = ", ".join(map(repr, list(columns)[:30])) + (", …" if len(columns) > 30 else "")
        raise DataError(f"{source}: no {role} column {name!r}; the columns are {listed}")
    return columns[name]


def to_matrix(
    columns: Mapping[str, Array], vocabularies: Mapping[str, Sequence[str]], source: str
) -> tuple[Array, tuple[str, ...]]:
    """Feature columns as an (n, features) float32 matrix, and their names.

    Text is encoded only by a vocabulary that the caller states: the model was trained with one, and another
    order would be silently wrong.

    Raises:
        DataError: a text column without a vocabulary, or a value that isn't in it; no column at all.
    """
    if not columns:
        raise DataError(f"{source}: no feature columns are left beside target, order and groups")
    text = [n for n, c in columns.items() if c.dtype.kind == "U" and n not in vocabularies]
    if text:
        seen = ", ".join(repr(str(v)) for v in np.unique(columns[text[0]])[:5])
        raise DataError(
            f"{source}: columns {text} hold text (in {text[0]!r}: {seen}, …); state the vocabulary that the "
            f"model was trained with (vocabularies={{{text[0]!r}: (…)}}), or drop them from the file"
        )
    encoded = [encode(c, vocabularies[n], n, source) if n in vocabularies else c for n, c in columns.items()]
    with np.errstate(over="ignore"):  # what doesn't fit becomes inf, which the NaN policy then reports
        return np.stack(encoded, axis=1).astype(np.float32), tuple(columns)


def encode(column: Array, vocabulary: Sequence[str], name: str, source: str) -> Array:
    index = {value: float(i) for i, value in enumerate(vocabulary)}
    text = column if column.dtype.kind == "U" else np.array([f"{v:g}" for v in column])
    unknown = sorted({str(v) for v in text} - set(index))
    if unknown:
        raise DataError(f"{source}: column {name!r} holds {unknown[:5]}, which its vocabulary lacks: add or drop them")
    return np.array([index[str(v)] for v in text], np.float64)


def order_column(column: Array, name: str, source: str) -> Array:
    """A column of numbers or ISO 8601 times as (n,) float64; times become seconds since 1970, UTC if unsaid.

    Raises:
        DataError: neither, or some are missing.
    """
    values = column.astype(np.float64) if column.dtype.kind in "biuf" else parse_times(column, name, source)
    if not np.isfinite(values).all():
        bad = ~np.isfinite(values)
        raise DataError(f"{source}: {bad.sum()} values of the order column {name!r} are missing (row {bad.argmax()})")
    return values


def parse_times(column: Array, name: str, source: str) -> Array:
    if column.dtype.kind == "M":
        return column.astype("datetime64[us]").astype(np.int64) / 1e6
    try:
        times = [datetime.fromisoformat(str(v).replace("Z", "+00:00")) for v in column]
        utc = [t if t.tzinfo else datetime.fromisoformat(f"{t.isoformat()}+00:00") for t in times]
        return np.array([t.timestamp() for t in utc], np.float64)
    except ValueError as error:
        raise DataError(f"{source}: order column {name!r} is neither numbers nor ISO 8601 times ({error})") from error
