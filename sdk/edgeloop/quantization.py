"""Between real values and the integers that a quantized tensor stores."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.manifest import TensorSpec
from edgeloop.preprocessing import Normalize, Scale, Step

__all__ = ["dequantize", "dequantize_table", "quantize", "quantize_table", "quantizer"]

BYTES = ("int8", "uint8")
# The largest float32 below 2³¹ - 1 is taken for int32, since that itself rounds up, past what fits.
LIMITS = {name: (float(np.iinfo(name).min), float(np.iinfo(name).max)) for name in ("int8", "uint8", "int16")}
LIMITS["int32"] = (-(2.0**31), 2.0**31 - 128)

# From 2²³ to 2²⁴ a float32 counts in ones: a sum that lies there is rounded as `rint` does, half to even, and ends in
# the bits of the integer. Half to even holds for what is added to it, if this is even itself.
_MAGIC = 1.5 * 2**23


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


def quantizer(
    spec: TensorSpec, out: NDArray[Any], not_finite: Callable[[], Exception]
) -> Callable[[NDArray[np.float32], object], None]:
    """What does `quantize` for one tensor, to the same bits, into `out` and nothing else.

    It takes the real values, of `out`'s shape, and something that it doesn't look at; where one of the values isn't
    finite it raises what `not_finite` gives, and leaves `out` as it was.
    """
    are_finite = bytearray(out.size)
    flags = np.frombuffer(are_finite, dtype=np.bool_).reshape(out.shape)
    isfinite = np.isfinite
    if spec.scale is None:

        def copy(real: NDArray[np.float32], _: object) -> None:
            isfinite(real, flags)
            if 0 in are_finite:  # half the time of `.all()`: a False is a zero byte
                raise not_finite()
            out[...] = real

        return copy
    zero, (least, most) = spec.zero_point or 0, LIMITS[spec.dtype]
    # 0-d arrays: numpy takes 0.3 µs more to make one of a scalar, at each of the calls below
    scale, zero_point, low, high, from_low, from_high, magic = (
        np.array(value, dtype=np.float32)
        for value in (spec.scale, zero, least, most, least - zero, most - zero, _MAGIC + zero)
    )
    stored = np.empty(out.shape, dtype=np.float32)
    # The ufunc beneath `np.clip`, which alone takes 0.6 µs for 640 values, and `np.clip` 1.9 µs.
    clip: Any = getattr(np, "core" if np.__version__ < "2" else "_core").umath.clip
    divide, rint, add, shifted = np.divide, np.rint, np.add, zero != 0

    def write(real: NDArray[np.float32], _: object) -> None:
        isfinite(real, flags)
        if 0 in are_finite:
            raise not_finite()
        divide(real, scale, stored)
        rint(stored, stored)
        if shifted:
            add(stored, zero_point, stored)
        clip(stored, low, high, stored)
        out[...] = stored

    if not shifted or zero % 2 or spec.dtype == "int32" or sys.byteorder != "little":
        return write
    lowest_bits = stored.reshape(-1).view(spec.dtype)[:: 4 // out.itemsize].reshape(out.shape)

    def write_by_one_sum(real: NDArray[np.float32], _: object) -> None:
        isfinite(real, flags)
        if 0 in are_finite:
            raise not_finite()
        divide(real, scale, stored)
        clip(stored, from_low, from_high, stored)
        add(stored, magic, stored)
        out[...] = lowest_bits

    return write_by_one_sum


def dequantize(spec: TensorSpec, stored: NDArray[Any]) -> NDArray[np.float32]:
    """Stored values as real ones, in float32; the same shape."""
    if spec.scale is None:
        return np.asarray(stored, dtype=np.float32)
    real = np.array(stored, dtype=np.float32)
    real -= np.float32(spec.zero_point or 0)  # in place: a batch of what was seen takes megabytes
    real *= np.float32(spec.scale)
    return real


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
        stands at its own two's complement (-1 of an int8 at 255). None where there is no such table: the sensor isn't
        one of 8 bits, the input neither of 8 bits nor float32, a step looks at more than one value, or a result isn't
        finite.
    """
    if (
        spec.dtype not in (*BYTES, "float32")
        or sensor.name not in BYTES
        or not all(isinstance(s, Scale | Normalize) for s in steps)
    ):
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
