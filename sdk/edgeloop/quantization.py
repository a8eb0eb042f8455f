"""Between real values and the integers that a quantized tensor stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.manifest import TensorSpec
from edgeloop.preprocessing import Normalize, Scale, Step

__all__ = ["Quantizer", "dequantize", "dequantize_table", "quantize", "quantize_table"]

BYTES = ("int8", "uint8")
# The largest float32 below 2³¹ - 1 is taken for int32, since that itself rounds up, past what fits.
LIMITS = {name: (float(np.iinfo(name).min), float(np.iinfo(name).max)) for name in ("int8", "uint8", "int16")}
LIMITS["int32"] = (-(2.0**31), 2.0**31 - 128)


def quantize(spec: TensorSpec, real: NDArray[np.float32]) -> NDArray[Any]:
    """Real values as the tensor stores them: round half to even, clipped to the dtype; the same shape.

    A tensor without a scale takes the values as they are, in its dtype.
    """
    if spec.scale is None:
        return np.asarray(real, dtype=spec.dtype)
    stored = np.asarray(real / np.float32(spec.scale))
    np.rint(stored, out=stored)
    stored += np.float32(spec.zero_point or 0)
    stored.clip(*LIMITS[spec.dtype], out=stored)
    return stored.astype(spec.dtype)


class Quantizer:
    """`quantize` for one tensor with a scale, to the same bits, and into an array that is there already."""

    def __init__(self, spec: TensorSpec, shape: tuple[int, ...]) -> None:
        self._real = np.empty(shape, dtype=np.float32)
        # 0-d arrays: numpy takes 0.3 µs more to make one of a scalar, at each of the calls below
        self._scale = np.array(spec.scale, dtype=np.float32)
        self._zero_point = np.array(spec.zero_point or 0, dtype=np.float32)
        # Whole arrays: numpy compares these with its vector loops, but not with a scalar. Of 27,648 values, `maximum`
        # takes 5 µs so, and 26 µs with a scalar; `clip` takes 10.
        self._low, self._high = (np.full(shape, limit, dtype=np.float32) for limit in LIMITS[spec.dtype])

    def __call__(self, real: NDArray[np.float32], out: NDArray[Any]) -> None:
        """Quantize `real` into `out`, both of the shape that was given."""
        stored = self._real
        np.divide(real, self._scale, out=stored)
        np.rint(stored, out=stored)
        np.add(stored, self._zero_point, out=stored)
        np.maximum(stored, self._low, out=stored)
        np.minimum(stored, self._high, out=stored)
        out[...] = stored


def dequantize(spec: TensorSpec, stored: NDArray[Any]) -> NDArray[np.float32]:
    """Stored values as real ones, in float32; the same shape."""
    if spec.scale is None:
        return np.asarray(stored, dtype=np.float32)
    real = (stored.astype(np.float32) - np.float32(spec.zero_point or 0)) * np.float32(spec.scale)
    return np.asarray(real, dtype=np.float32)


def quantize_table(
    spec: TensorSpec, steps: Sequence[Step], sensor: np.dtype[Any], channels: int
) -> NDArray[Any] | None:
    """Preprocessing and quantization of an 8-bit sensor's values, in one table.

    Args:
        spec: the model's input.
        steps: the preprocessing.
        sensor: the samples' dtype.
        channels: the length of the samples' last axis.

    Returns:
        (256,), or (channels, 256) where these differ: what `quantize` makes of what the steps make of the value, which
        stands at its own two's complement (-1 of an int8 at 255). None where there is no such table: the sensor or the
        input isn't one of 8 bits, a step looks at more than one value, or a result isn't finite.
    """
    if spec.dtype not in BYTES or sensor.name not in BYTES or not all(isinstance(s, Scale | Normalize) for s in steps):
        return None
    values = np.arange(256, dtype=np.uint8).view(sensor)
    real = np.repeat(values[:, np.newaxis], channels, axis=1).astype(np.float32)
    for step in steps:
        real = step(real)
    if not np.isfinite(real).all():
        return None
    table = np.ascontiguousarray(quantize(spec, real).T)
    return table[0] if (table == table[0]).all() else table


def dequantize_table(spec: TensorSpec) -> NDArray[np.float32] | None:
    """`dequantize` of all 256 values of an 8-bit tensor, each at its own two's complement; None of another dtype."""
    if spec.dtype not in BYTES:
        return None
    return dequantize(spec, np.arange(256, dtype=np.uint8).view(spec.dtype))
