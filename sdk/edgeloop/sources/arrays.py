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
    """The rows of an `.npy` file, or of one array of an `.npz` file.

    Args:
        path: the file.
        key: the array's name in an `.npz` file.
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
        return paced(self._rows(load_array(self.path, self.key)), self.rate_hz)

    def _rows(self, x: NDArray[Any]) -> Iterator[Item]:
        while True:
            for i, row in enumerate(x):
                yield SourceItem(np.array(row), str(i))
            if not self.loop:
                return


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
    return x
