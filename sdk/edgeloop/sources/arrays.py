"""Inputs from a NumPy file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop.sources.item import Item, SourceItem
from edgeloop.sources.pacing import paced

__all__ = ["Arrays", "load_array"]


class Arrays(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="arrays"):
    """The rows of an `.npy` file, of one array of an `.npz` file, or of several there, for a model with several inputs.

    Args:
        path: the file.
        key: the array's name in an `.npz` file; where it holds `KEY.NAME` in its place, these are inputs by name.
        rate_hz: rows a second; None is as fast as they are taken.
        loop: start over at the end, for ever.
    """

    path: str
    key: str = "x"
    rate_hz: Annotated[float, msgspec.Meta(gt=0)] | None = None
    loop: bool = False

    def open(self) -> Iterator[Item]:
        """Load the file; each row is named by its number.

        Raises:
            OSError: it can't be read.
            DataError: it holds no such array, or no rows.
        """
        named = load_named(self.path, self.key)
        return paced(self._rows(named or {"": load_array(self.path, self.key)}), self.rate_hz)

    def _rows(self, arrays: dict[str, NDArray[Any]]) -> Iterator[Item]:
        single = arrays.get("")
        while True:
            for i in range(len(next(iter(arrays.values())))):
                row = {name: np.array(a[i]) for name, a in arrays.items()} if single is None else np.array(single[i])
                yield SourceItem(row, str(i))
            if not self.loop:
                return


def load_named(path: str, key: str = "x") -> dict[str, NDArray[Any]]:
    """The arrays called `KEY.NAME` of an `.npz` file by NAME; empty for every other file.

    Raises:
        OSError: the file can't be read.
        DataError: an array is damaged, or they have different lengths or no rows.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            keys = [n[:-4] for n in archive.namelist() if n.startswith(f"{key}.") and n != f"{key}.npy"]
    except zipfile.BadZipFile:
        return {}
    arrays = {k.removeprefix(f"{key}."): load_array(path, k) for k in keys}
    if len({len(a) for a in arrays.values()}) > 1:
        raise DataError(
            f"{path}: its inputs have different numbers of rows: { ({n: len(a) for n, a in arrays.items()}) }"
        )
    return arrays


def load_array(path: str, key: str = "x") -> NDArray[Any]:
    """The array of an `.npy` file, mapped and not read, or the one named `key` of an `.npz` file.

    Raises:
        OSError: the file can't be read.
        DataError: it is damaged, has no such array, or no rows.
    """
    try:
        # Opened here: numpy leaves a broken .npz file open that it opened itself.
        with open(path, "rb") as file:  # noqa: PTH123  # a Path would change the name in the message
            if file.read(6) == b"\x93NUMPY":
                x: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
            else:
                file.seek(0)
                loaded = np.load(file, allow_pickle=False)
                x = loaded if isinstance(loaded, np.ndarray) else loaded[key]
    except KeyError as error:
        raise DataError(f"{path}: no array named `{key}` in it") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not an .npy or .npz file of numbers ({error})") from error
    if x.ndim == 0 or len(x) == 0:
        raise DataError(f"{path}: no inputs in it (shape {x.shape})")
    return np.asarray(x)  # of a memmap, its array: a row of that takes a fifth of the time
