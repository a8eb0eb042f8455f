"""Ranges of activations over calibration data, for static quantization.

`litert-quantizer` smooths minima and maxima over the samples (an exponential moving average with factor
0.95), which clips what only few samples reach and makes the result depend on their order. Here each range is
either the true one or the one with the least squared quantization error.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.tflite.interpreter import (
    Array,
    Inputs,
    invoke,
    open_interpreter,
    samples_of,
    set_sample,
)

__all__ = ["Ranges", "activation_ranges", "least_error_range"]

Ranges: TypeAlias = Literal["min_max", "least_error"]

BINS = 2048
SHRINKS = np.linspace(0.3, 1.0, 36)  # a range that keeps less than a third clips more than it wins


def activation_ranges(model: bytes, calibration: Inputs, *, ranges: Ranges = "min_max") -> dict[str, dict[str, Array]]:
    """Run a float model over samples and find the range of each of its float activations.

    Args:
        model: a float `.tflite` file.
        calibration: samples `(n, *input_shape[1:])`, float32.
        ranges: "min_max", or "least_error" for `least_error_range` over a histogram of 2,048 bins.

    Returns:
        By tensor name: `{"min": …, "max": …}`, each of shape `(1,) * rank`, as `litert-quantizer` takes them.

    Raises:
        DataError: the samples don't fit the model, or lead to NaN or infinity.
        ModelError: the model can't be loaded.
    """
    interpreter = open_interpreter(model, preserve=True)
    limits: dict[str, tuple[float, float]] = {}
    rank: dict[str, int] = {}
    for name, values in activations(interpreter, calibration):
        if not np.isfinite(values).all():
            raise DataError(f"the calibration data makes tensor {name!r} NaN or infinite: look for it in the inputs")
        low, high = limits.get(name, (np.inf, -np.inf))
        limits[name] = min(low, float(values.min())), max(high, float(values.max()))
        rank[name] = values.ndim
    if ranges == "least_error":
        counts = {name: np.zeros(BINS) for name in limits}
        for name, values in activations(interpreter, calibration):
            counts[name] += histogram(values, *limits[name])
        limits = {name: least_error_range(counts[name], *limits[name]) for name in limits}
    return {
        name: {
            "min": np.full((1,) * rank[name], low, np.float32),
            "max": np.full((1,) * rank[name], high, np.float32),
        }
        for name, (low, high) in limits.items()
    }


def activations(interpreter: Any, calibration: Inputs) -> Iterator[tuple[str, Array]]:
    """The name and the values of every float tensor that isn't constant, sample after sample."""
    arrays = samples_of(interpreter, calibration)
    ends = {d["index"] for d in interpreter.get_input_details()}
    made = {int(t) for op in interpreter._get_ops_details() for t in op["outputs"]}  # noqa: SLF001 - no public list
    details = [d for d in interpreter.get_tensor_details() if d["index"] in ends | made and d["dtype"] is np.float32]
    for sample in range(len(arrays[0])):
        set_sample(interpreter, arrays, sample)
        invoke(interpreter)
        for detail in details:
            values = interpreter.get_tensor(detail["index"])
            if values.size:
                yield detail["name"], values


def histogram(values: Array, low: float, high: float) -> Array:
    """Counts over `BINS` equal bins; numpy's refuses ranges that are too narrow to tell these apart."""
    if not high > low:
        return np.zeros(BINS)
    bins = ((values.astype(np.float64).ravel() - low) * (BINS / (high - low))).astype(np.int64)
    return np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)


def least_error_range(counts: Array, low: float, high: float) -> tuple[float, float]:
    """The range whose 8-bit quantization has the least squared error, clipping included.

    Both ends are shrunk towards zero on a grid, as in Banner et al., "Post training 4-bit quantization of
    convolutional networks for rapid-deployment" (2019), but over the measured histogram.

    Args:
        counts: a histogram over equal bins from `low` to `high`.
        low: the smallest value seen.
        high: the largest.
    """
    if not high > low:
        return low, high
    edges = np.linspace(low, high, len(counts) + 1)
    values = (edges[:-1] + edges[1:]) / 2
    best, least = (low, high), np.inf
    for bottom in np.unique(min(low, 0.0) * SHRINKS):
        for top in np.unique(max(high, 0.0) * SHRINKS):
            step = (top - bottom) / 255
            clipped = np.clip(values, bottom, top) - values
            # A value inside the range is off by a uniform rounding error, whose variance is step² / 12.
            error = float(counts @ np.where(clipped == 0, step**2 / 12, clipped**2))
            if error < least:
                best, least = (float(bottom), float(top)), error
    return best
