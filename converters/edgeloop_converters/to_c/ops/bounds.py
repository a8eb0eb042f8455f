"""How large an accumulator can get: TFLite's reference kernels leave int32 overflow undefined."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edgeloop_converters.to_c.graph import Array, Tensor

__all__ = ["accumulator_problems", "largest_accumulators"]

LARGEST = 2**31 - 1
LARGEST_SCALED = 2**30


def largest_accumulators(activation: Tensor, weights: Array, bias: Array | None) -> Array:
    """The largest absolute sum that each output channel can reach, int64.

    Args:
        activation: the int8 input.
        weights: `(channels, products)`, with their zero point subtracted.
        bias: `(channels,)` or None.
    """
    largest = max(127 - activation.zero_point, activation.zero_point + 128)
    sums: Array = np.abs(weights.astype(np.int64)).sum(axis=1) * largest
    return sums if bias is None else sums + np.abs(bias.astype(np.int64))


def accumulator_problems(activation: Tensor, weights: Array, bias: Array | None, scales: Array) -> Iterable[str]:
    """Why some input could overflow an accumulator, or its scaled value."""
    if bias is not None and bias.size != len(weights):
        yield f"has {bias.size} biases for {len(weights)} output channels"
        return
    largest = largest_accumulators(activation, weights, bias)
    if largest.max(initial=0) > LARGEST:
        yield f"sums up to {largest.max()}, which overflows int32"
    elif (largest * scales).max(initial=0) >= LARGEST_SCALED:
        yield "scales its sums past int32"
