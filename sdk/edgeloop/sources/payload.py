"""An input from the bytes that a message or a line brought."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.sources.item import Item, SkippedItem, SourceItem

__all__ = ["from_json", "from_raw"]


class _Named(msgspec.Struct):
    x: Any
    ref: str = ""


def from_json(data: bytes, ref: str) -> Item:
    """An input from JSON: `[1, 2.5, …]`, nested as its shape, or `{"x": […], "ref": "its name"}`.

    Of a model with several inputs `x` is an object: `{"x": {"image": […], "gain": [2]}}`.

    `null` is a missing value, and strings are for a vocabulary in the preprocessing; both give an array of objects.
    """
    try:
        value = msgspec.json.decode(data)
        if isinstance(value, dict):
            named = msgspec.convert(value, _Named)
            value, ref = named.x, named.ref or ref
        if isinstance(value, dict):
            return SourceItem({name: _array(each) for name, each in value.items()}, ref)
        return SourceItem(_array(value), ref)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return SkippedItem("not JSON of an input", ref, str(error))
    except ValueError as error:
        return SkippedItem("lists of different lengths", ref, str(error))


def from_raw(data: bytes, dtype: np.dtype[Any], shape: tuple[int, ...], ref: str) -> Item:
    """An input from raw bytes of a known dtype and shape."""
    wanted = math.prod(shape) * dtype.itemsize
    if len(data) != wanted:
        return SkippedItem("a payload of another size", ref, f"{len(data)} bytes, not {wanted}")
    return SourceItem(np.frombuffer(data, dtype).reshape(shape), ref)


def _array(value: Any) -> NDArray[Any]:
    array = np.asarray(value)
    # NumPy makes one string after another of numbers that stand beside strings.
    return np.asarray(value, dtype=object) if array.dtype.kind == "U" else array
