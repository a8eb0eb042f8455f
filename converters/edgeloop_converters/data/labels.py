"""Turning what a file calls labels into class indices or values, or saying why that can't be done."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.data.dataset import Array

__all__ = ["Task", "read_labels"]

Task = Literal["classification", "regression"]


def read_labels(
    raw: Array, *, task: Task, source: str, names: tuple[str, ...] | None = None, n_classes: int | None = None
) -> tuple[Array, tuple[str, ...] | None]:
    """Labels as the rest of edgeloop expects them.

    Args:
        raw: (n,) or (n, 1) numbers or strings, or an (n, k) one-hot table; for regression (n,) or (n, k).
        task: what the labels are for.
        source: where they come from, for messages.
        names: the classes' names by index, when known; string labels must be among them.
        n_classes: how many classes the model has, when known; a larger index is an error.

    Returns:
        (n,) int64 class indices and the classes' names; or float64 values and None.

    Raises:
        DataError: labels that are negative, out of range, fractional, missing, or all the same.
    """
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if task == "regression":
        return read_values(raw, source), None
    if raw.dtype.kind in "US" and raw.ndim == 1:
        indices, names = index_strings(raw, names, source)
    else:
        indices = read_indices(raw, source)
    limit = n_classes if n_classes is not None else len(names) if names is not None else None
    if indices.min() < 0:
        raise DataError(
            f"{source}: {np.sum(indices < 0)} labels are negative (first at row {np.argmax(indices < 0)}); "
            "classes count from 0: renumber them or drop these rows"
        )
    if limit is not None and indices.max() >= limit:
        bad = indices >= limit
        raise DataError(
            f"{source}: {bad.sum()} labels are out of range (first at row {np.argmax(bad)}: "
            f"{indices[np.argmax(bad)]}), but there are {limit} classes, 0 to {limit - 1}: are these labels "
            "for another model?"
        )
    if indices.min() == indices.max():
        raise DataError(
            f"{source}: all {len(indices)} labels are the same class ({indices[0]}); nothing can be "
            "measured on one class: add samples of the others"
        )
    return indices, names


def read_values(raw: Array, source: str) -> Array:
    if raw.dtype.kind not in "biuf" or raw.ndim not in (1, 2):
        raise DataError(f"{source}: a regression's y must be numbers, (n,) or (n, k); got {describe(raw)}")
    return raw.astype(np.float64)


def index_strings(raw: Array, names: tuple[str, ...] | None, source: str) -> tuple[Array, tuple[str, ...]]:
    text = np.char.decode(raw, "utf-8") if raw.dtype.kind == "S" else raw
    found = [str(v) for v in np.unique(text)]
    vocabulary = tuple(found) if names is None else names
    unknown = sorted(set(found) - set(vocabulary))
    if unknown:
        raise DataError(f"{source}: labels {unknown[:5]} aren't among the classes {list(vocabulary)[:20]}")
    if "" in found:
        raise DataError(f"{source}: {np.sum(text == '')} labels are missing; drop these rows")
    index = {name: i for i, name in enumerate(vocabulary)}
    return np.array([index[str(v)] for v in text], np.int64), vocabulary


def read_indices(raw: Array, source: str) -> Array:
    if raw.ndim == 2 and raw.dtype.kind in "biuf":
        if not (np.isin(raw, (0, 1)).all() and (raw.sum(axis=1) == 1).all()):
            raise DataError(f"{source}: y is {describe(raw)}, but its rows aren't one-hot; give (n,) class indices")
        return np.asarray(raw.argmax(axis=1), np.int64)
    if raw.ndim != 1 or raw.dtype.kind not in "biuf":
        raise DataError(f"{source}: y must be (n,) class indices or names; got {describe(raw)}")
    if raw.dtype.kind == "f":
        if not np.isfinite(raw).all():
            raise DataError(f"{source}: {np.sum(~np.isfinite(raw))} labels are NaN or inf; drop these rows")
        if (raw != np.round(raw)).any():
            raise DataError(
                f"{source}: labels aren't whole numbers (first: {raw[np.argmax(raw != np.round(raw))]}); "
                "for a regression say task='regression'"
            )
    if np.abs(raw.astype(np.float64)).max() >= 2**31:
        raise DataError(f"{source}: labels go past 2**31; give class indices that count from 0")
    return raw.astype(np.int64)


def describe(a: Array) -> str:
    return f"{a.dtype} {a.shape}"
