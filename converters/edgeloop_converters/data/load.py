"""One call for every kind of data set: `.npz`, `.npy`, a folder of images, CSV, Parquet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.data.arrays import npz_names, read_npy, read_npz
from edgeloop_converters.data.dataset import Array, Dataset, Inputs, Skipped, input_arrays
from edgeloop_converters.data.images import ImageMode, read_image_folder
from edgeloop_converters.data.labels import Task, read_labels
from edgeloop_converters.data.tables import column_of, order_column, read_csv, read_parquet, to_matrix

__all__ = ["NanPolicy", "load_dataset"]

NanPolicy = Literal["refuse", "drop", "keep"]
MAX_BYTES = 8 << 30


@dataclass(frozen=True)
class Options:
    """What `load_dataset` was asked for, as its readers need it."""

    split: str | None
    target: str | None
    order: str | None
    groups: tuple[str, ...]
    vocabularies: Mapping[str, Sequence[str]]
    image_size: tuple[int, int] | None
    image_mode: ImageMode
    max_bytes: int


@dataclass(frozen=True)
class Raw:
    """What a reader found, before labels and values are checked."""

    x: Inputs
    y: Array | None
    labels: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    order: Array | None = None
    groups: Mapping[str, Array] | None = None
    skipped: tuple[Skipped, ...] = ()


def load_dataset(
    path: str | Path,
    *,
    split: str | None = None,
    target: str | None = None,
    order: str | None = None,
    groups: Sequence[str] = (),
    task: Task = "classification",
    labels: Sequence[str] | None = None,
    n_classes: int | None = None,
    vocabularies: Mapping[str, Sequence[str]] | None = None,
    image_size: tuple[int, int] | None = None,
    image_mode: ImageMode = "RGB",
    nan: NanPolicy = "refuse",
    max_bytes: int = MAX_BYTES,
) -> Dataset:
    """Load a data set from disk.

    Args:
        path: one of
            `.npz` with `x` and, if labelled, `y`; or `x_train`, `y_train`, `x_test`, `y_test`, of which
            `split` picks; a model with several inputs has `x.NAME` (`x_train.NAME`) for each; text in
            `labels` names the classes;
            `.npy`, inputs only;
            a folder of PNG, JPEG or BMP images, one subfolder a class (or of `split`, which holds them);
            `.csv` with a header, or `.parquet`: each column that isn't target, order or group is a feature.
            `#train` at its end is a `split`.
        split: which part of the file or folder.
        target: the column or key of the labels; for `.npz` the default is `y`; a table without is unlabelled.
        order: the column or key of times or indices.
        groups: columns or keys to keep for slices.
        task: whether `y` is classes or values.
        labels: the classes' names by index.
        n_classes: how many classes the model has.
        vocabularies: for each text column its values, in the order that the model was trained with.
        image_size: (height, width) to resize images to.
        image_mode: "RGB" or "L" (grey).
        nan: what to do with rows that hold NaN or inf: refuse the set, drop them (counted in `skipped`), or
            keep them.
        max_bytes: the most that the set's arrays may take.

    Raises:
        DataError: it can't be used; the message says why and what to do.
        MissingExtraError: Pillow or pyarrow is needed and isn't installed.
    """
    where = Path(path)
    if split is None and "#" in where.name and not where.exists():
        stem, _, split = str(path).rpartition("#")
        where = Path(stem)
    if not where.exists():
        raise DataError(f"{where}: no such file or folder")
    options = Options(split, target, order, tuple(groups), vocabularies or {}, image_size, image_mode, max_bytes)
    readers: dict[str, Callable[[Path, Options], Raw]] = {
        ".npz": from_npz, ".npy": from_npy, ".csv": from_table, ".parquet": from_table,
    }  # fmt: skip
    reader = from_folder if where.is_dir() else readers.get(where.suffix.lower())
    if reader is None:
        raise DataError(f"{where}: unknown kind of data; give .npz, .npy, .csv, .parquet, or a folder of images")
    source = f"{where}#{split}" if split else str(where)
    raw = reader(where, options)
    check_inputs(raw.x, source)
    y, names = raw.y, tuple(labels) if labels is not None else raw.labels
    if y is not None:
        if len(y) == 0:
            raise DataError(f"{source}: the data set is empty")
        y, names = read_labels(y, task=task, source=source, names=names, n_classes=n_classes)
    found = Dataset(raw.x, y, names, raw.feature_names, raw.order, raw.groups or {}, source, raw.skipped)
    return found if nan == "keep" else without_nan(found, drop=nan == "drop")


def check_inputs(x: Inputs, source: str) -> None:
    for name, a in input_arrays(x).items():
        if a.dtype.kind not in "biuf":
            raise DataError(f"{source}: input {name!r} is {a.dtype}; a model's input must be numbers")
        if a.ndim < 2:
            raise DataError(f"{source}: input {name!r} has shape {a.shape}; the first axis is the sample: (n, …)")
        if a.size == 0:
            raise DataError(f"{source}: the data set is empty: input {name!r} has shape {a.shape}")


def without_nan(found: Dataset, *, drop: bool) -> Dataset:
    bad = np.zeros(len(found), bool)
    floats = [a for a in (*found.inputs.values(), found.y) if a is not None and a.dtype.kind == "f"]
    for a in floats:
        bad |= ~np.isfinite(a).reshape(len(a), -1).all(axis=1)
    rows = np.flatnonzero(bad)
    if len(rows) == 0:
        return found
    if not drop or len(rows) == len(found):
        first = ", ".join(map(str, rows[:5]))
        raise DataError(
            f"{found.source}: {len(rows)} of {len(found)} rows hold NaN or inf (rows "
            f"{first}{', …' * (len(rows) > 5)}); mend them, or drop them (--nan drop; nan='drop' in Python)"
        )
    dropped = tuple(Skipped(f"{found.source} row {i}", "holds NaN or inf") for i in rows)
    return replace(found.take(~bad), skipped=found.skipped + dropped)


def from_npy(path: Path, options: Options) -> Raw:
    for name, value in (("split", options.split), ("target", options.target), ("order", options.order)):
        if value is not None:
            raise DataError(f"{path}: a .npy file holds inputs only, it has no {name} {value!r}; use .npz")
    return Raw(read_npy(path, max_bytes=options.max_bytes), None)


def from_npz(path: Path, options: Options) -> Raw:
    names = npz_names(path)
    suffix = f"_{options.split}" if options.split else ""
    x_key, y_key = f"x{suffix}", options.target or f"y{suffix}"
    inputs = {n: n.removeprefix(f"{x_key}.") for n in names if n.startswith(f"{x_key}.")}
    if x_key not in names and not inputs:
        splits = sorted({n[2:].partition(".")[0] for n in names if n.startswith("x_")})
        hint = f"pick a split: {', '.join(splits)}" if splits else "save the inputs as 'x' (and labels as 'y')"
        raise DataError(f"{path}: no array {x_key!r}; it holds {', '.join(names) or 'nothing'}: {hint}")
    extra = [k for k in (options.target, options.order, *options.groups) if k is not None]
    missing = [k for k in extra if k not in names]
    if missing:
        raise DataError(f"{path}: no array {missing[0]!r}; it holds {', '.join(names)}")
    keys = frozenset({x_key, y_key, "labels", *inputs, *extra})
    arrays = read_npz(path, keys=keys, max_bytes=options.max_bytes)
    x: Inputs = {short: arrays[n] for n, short in inputs.items()} if inputs else arrays[x_key]
    order = order_column(arrays[options.order], options.order, str(path)) if options.order else None
    named = "labels" in arrays and options.target != "labels" and arrays["labels"].dtype.kind == "U"
    labels = tuple(str(v) for v in arrays["labels"].ravel()) if named else None
    return Raw(x, arrays.get(y_key), labels, None, order, {g: arrays[g] for g in options.groups})


def from_table(path: Path, options: Options) -> Raw:
    columns, skipped = (read_parquet(path), ()) if path.suffix.lower() == ".parquet" else read_csv(path)
    if options.split is not None:
        raise DataError(f"{path}: a table has no splits; give the file of {options.split!r}")
    source = str(path)
    target = options.target
    y = None if target is None else column_of(columns, target, source, "target")
    order = options.order
    times = None if order is None else order_column(column_of(columns, order, source, "order"), order, source)
    groups = {g: column_of(columns, g, source, "group") for g in options.groups}
    unknown = sorted(set(options.vocabularies) - set(columns))
    if unknown:
        column_of(columns, unknown[0], source, "vocabulary")
    features = {n: c for n, c in columns.items() if n not in {target, order, *groups}}
    x, names = to_matrix(features, options.vocabularies, source)
    return Raw(x, y, None, names, times, groups, skipped)


def from_folder(path: Path, options: Options) -> Raw:
    folder = path / options.split if options.split else path
    if not folder.is_dir():
        held = ", ".join(sorted(p.name for p in path.iterdir() if p.is_dir())) or "no folders"
        raise DataError(f"{folder}: no such folder; {path} holds {held}")
    for name, value in (
        ("target", options.target),
        ("order", options.order),
        *(("group", g) for g in options.groups),
    ):
        if value is not None:
            raise DataError(f"{path}: a folder of images has no {name} column {value!r}")
    x, names, classes, skipped = read_image_folder(
        folder, size=options.image_size, mode=options.image_mode, max_bytes=options.max_bytes
    )
    if names is None:
        return Raw(x, None, skipped=skipped)
    return Raw(x, np.array(names, np.str_), labels=classes, skipped=skipped)
