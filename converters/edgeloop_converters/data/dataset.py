"""A data set in memory: inputs, labels, and what is known of their order and groups."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeloop.errors import DataError

__all__ = ["Array", "Dataset", "Inputs", "Skipped", "input_arrays", "take_rows"]

Array = npt.NDArray[Any]
Inputs = Array | dict[str, Array]


@dataclass(frozen=True)
class Skipped:
    """One thing that was left out while loading.

    Args:
        what: the file, or the file and the row.
        reason: why, as one line.
    """

    what: str
    reason: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples by row; every array's first axis is the sample.

    Args:
        x: the input, (n, …), or one such array for each of the model's inputs by name.
        y: (n,) int64 class indices, or (n,) or (n, k) float64 values to predict; None when unlabelled.
        labels: the name of each class, by index.
        feature_names: the name of each column of a tabular `x`.
        order: (n,) int64 or float64 times or indices, when known: what came before what.
        groups: (n,) columns by name (site, device, person), for slices and for keeping sets apart.
        source: where it came from, for messages.
        skipped: what was left out while loading.

    Raises:
        DataError: the set is empty, or the arrays' lengths differ.
    """

    x: Inputs
    y: Array | None = None
    labels: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    order: Array | None = None
    groups: Mapping[str, Array] = field(default_factory=dict)
    source: str = "memory"
    skipped: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        parts: dict[str, Array] = {f"x ({name})": a for name, a in input_arrays(self.x).items()}
        parts |= {f"group {name!r}": column for name, column in self.groups.items()}
        if self.y is not None:
            parts["y"] = self.y
        if self.order is not None:
            parts["order"] = self.order
        scalars = [name for name, a in parts.items() if a.ndim == 0]
        if scalars or not self.inputs:
            raise DataError(f"{self.source}: {scalars or 'x'} holds no rows; the first axis must be the sample")
        lengths = {name: len(a) for name, a in parts.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{self.source}: the lengths differ, so rows can't be matched: {lengths}")
        if len(self) == 0:
            raise DataError(f"{self.source}: the data set is empty")

    def __len__(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def inputs(self) -> dict[str, Array]:
        """The inputs by name; a single unnamed one is called "x"."""
        return input_arrays(self.x)

    @property
    def is_classification(self) -> bool:
        """Whether `y` holds class indices."""
        return self.y is not None and self.y.ndim == 1 and np.issubdtype(self.y.dtype, np.integer)

    @property
    def n_classes(self) -> int:
        """The number of classes: of the names when there are any, else one more than the largest index."""
        if self.labels is not None:
            return len(self.labels)
        return int(self.y.max()) + 1 if self.is_classification and self.y is not None else 0

    def class_name(self, index: int) -> str:
        """A class as a message shows it: its name, or its index."""
        known = self.labels is not None and index < len(self.labels)
        return repr(self.labels[index]) if known and self.labels is not None else str(index)

    def take(self, indices: npt.ArrayLike) -> Dataset:
        """The data set of these rows, in this order; a boolean mask works too.

        Raises:
            DataError: no row is left.
            IndexError: an index is out of range.
        """
        chosen = np.asarray(indices)
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        return replace(
            self,
            x=take_rows(self.x, chosen),
            y=None if self.y is None else self.y[chosen],
            order=None if self.order is None else self.order[chosen],
            groups={name: column[chosen] for name, column in self.groups.items()},
        )

    def sha256(self) -> str:
        """The hash of inputs and labels (names, dtypes, shapes, values); not of where they came from.

        The same on every machine: numbers are hashed as little-endian, rows in C order.
        """
        return hash_arrays(self.inputs | ({} if self.y is None else {"\0y": self.y}))


def input_arrays(x: Inputs) -> dict[str, Array]:
    """The inputs by name; a single unnamed one is called "x"."""
    return x if isinstance(x, dict) else {"x": x}


def take_rows(x: Inputs, indices: Array) -> Inputs:
    """These rows of every input."""
    return {name: a[indices] for name, a in x.items()} if isinstance(x, dict) else x[indices]


def hash_arrays(arrays: Mapping[str, Array]) -> str:
    """SHA-256 over names, dtypes, shapes and values, whatever the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        a = a.astype(a.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{name}\0{a.dtype.str}\0{a.shape}\0".encode())
        digest.update(a.reshape(-1).view(np.uint8).data if a.size else b"")
    return digest.hexdigest()
