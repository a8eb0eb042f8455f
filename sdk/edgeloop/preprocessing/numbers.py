"""Steps that treat each number by itself: they fold into a table where the sensor gives 8-bit integers."""

from __future__ import annotations

import functools
import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import InputError

__all__ = ["Normalize", "Scale"]

Floats = NDArray[np.float32]


class Scale(msgspec.Struct, frozen=True, tag="scale", tag_field="step", forbid_unknown_fields=True):
    """`x × factor + offset`, in float32: brings raw units (0…255 of a camera) to what the model was trained on."""

    factor: float
    offset: float = 0.0

    def __call__(self, x: Floats) -> Floats:
        """Scale `x` of any shape; the result is float32 and a new array."""
        return np.asarray(x * np.float32(self.factor) + np.float32(self.offset), dtype=np.float32)


class Normalize(msgspec.Struct, frozen=True, tag="normalize", tag_field="step", forbid_unknown_fields=True):
    """`(x - mean) / std` along the last axis, in float32: per channel of an image, or per feature of a table.

    `mean` and `std` have one number for each entry of that axis, or one for all.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(f"normalize has {len(self.mean)} means and {len(self.std)} standard deviations")
        if not all(map(math.isfinite, self.mean)) or not all(math.isfinite(s) and s > 0 for s in self.std):
            raise ValueError("normalize needs finite means, and standard deviations above 0")

    def __call__(self, x: Floats) -> Floats:
        """Normalize `x` of shape (n, …, features). Raises `InputError` where that axis has another length."""
        if len(self.mean) != 1 and (x.ndim < 2 or x.shape[-1] != len(self.mean)):
            raise InputError(f"{len(self.mean)} means for inputs of shape {x.shape[1:]}: their last axis must match")
        return np.asarray((x - _vector(self.mean)) / _vector(self.std), dtype=np.float32)


@functools.lru_cache(maxsize=32)
def _vector(values: tuple[float, ...]) -> Floats:
    return np.array(values, dtype=np.float32)
