"""Real multipliers as integers, computed as TFLite computes them, so that the same bits come out.

TFLite scales an int32 accumulator by a 31-bit multiplier and a shift, with two roundings (gemmlowp's
`SaturatingRoundingDoublingHighMul`, then `RoundingDivideByPOT`). Its reference fully connected layer differs: it
multiplies in double precision and rounds half away from zero. `exact_multiplier` finds an integer multiplier
that gives that result for every accumulator, so that the firmware needs no double arithmetic.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgeloop_converters.to_c.graph import Tensor

__all__ = ["INT8_MAX", "INT8_MIN", "Multiplier", "activation_range", "exact_multiplier", "quantize_multiplier"]

INT8_MIN, INT8_MAX = -128, 127
SATURATES = 512  # steps: whatever the zero point, an int8 output has reached its limit
LARGEST_SHIFT = 62
LIMITS = {0: None, 1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}  # the schema's fused activations


class Multiplier(NamedTuple):
    """A multiplier and the shift that goes with it.

    Attributes:
        value: the integer multiplier.
        shift: to the left where positive for `quantize_multiplier`; to the right for `exact_multiplier`.
    """

    value: int
    shift: int


def quantize_multiplier(real: float) -> Multiplier:
    """A real multiplier as Q0.31 and a power of two: real ≈ value · 2^(shift − 31).

    Source: TFLite's `QuantizeMultiplier`: `frexp`, rounded half away from zero, flushed to 0 below 2^-31.
    """
    if real == 0:
        return Multiplier(0, 0)
    fraction, shift = math.frexp(real)
    value = math.floor(fraction * 2**31 + 0.5)
    if value == 2**31:
        value //= 2
        shift += 1
    if shift < -31:
        return Multiplier(0, 0)
    return Multiplier(value, shift)


def exact_multiplier(real: float, largest: int) -> Multiplier | None:
    """An integer multiplier with (|acc| · value + 2^(shift-1)) >> shift == |round(double(acc) · real)|.

    It holds for every |acc| up to `largest`, or until the output has saturated. Both sides grow with |acc|, so
    it is enough that they step at the same places: each step from k − 1 to k bounds the multiplier from both
    sides, and the smallest shift whose bounds leave an integer is taken.

    Args:
        real: the positive real multiplier.
        largest: the largest |acc| that can occur.

    Returns:
        The multiplier, below 2^31; None where 31 bits can't tell two steps apart.
    """
    reach = min(SATURATES, round_half_away(largest * real))
    steps = [(k, threshold(real, k)) for k in range(1, reach + 1)]
    for shift in range(1, LARGEST_SHIFT):
        one, half = 1 << shift, 1 << (shift - 1)
        low, high = 0, 2**31 - 1
        for k, at in steps:
            low = max(low, -((half - k * one) // at))
            if at > 1:
                high = min(high, (k * one - half - 1) // (at - 1))
        if reach < SATURATES:  # the last step must not be followed by one more
            high = min(high, ((reach + 1) * one - half - 1) // max(largest, 1))
        if low <= high:
            return Multiplier(low, shift)
    return None


def threshold(real: float, k: int) -> int:
    """The smallest accumulator that double arithmetic rounds to k or more."""
    at = math.ceil((k - 0.5) / real)
    while round_half_away((at - 1) * real) >= k:
        at -= 1
    while round_half_away(at * real) < k:
        at += 1
    return at


def round_half_away(value: float) -> int:
    """C's `round` of a positive double."""
    whole = math.floor(value)
    return whole + (value - whole >= 0.5)  # the difference is exact


def activation_range(output: Tensor, activation: int) -> tuple[int, int]:
    """The int8 limits of a fused activation.

    Args:
        output: the op's output.
        activation: the schema's `ActivationFunctionType`: none, ReLU, ReLU −1…1 or ReLU6.

    Source: TFLite's `CalculateActivationRangeQuantized`, in float32.
    """
    limits = LIMITS[activation]
    if limits is None:
        return INT8_MIN, INT8_MAX
    low, high = limits
    smallest = INT8_MIN if low is None else max(INT8_MIN, quantize(low, output))
    largest = INT8_MAX if high is None else min(INT8_MAX, quantize(high, output))
    return smallest, largest


def quantize(value: float, tensor: Tensor) -> int:
    """A real value in a tensor's steps: divided in float32, rounded half away from zero."""
    steps = float(np.float32(value) / np.float32(tensor.scale))
    return tensor.zero_point + (-1 if steps < 0 else 1) * round_half_away(abs(steps))
