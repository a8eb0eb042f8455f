"""Why a quantized layer is off, and what to try, with its cost in the file.

The thresholds are rules of thumb: they say where to look first, and the evidence says how strongly.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import msgspec
import numpy as np

from edgeloop_converters.tflite.facts import TensorFacts
from edgeloop_converters.tflite.interpreter import Array
from edgeloop_converters.tflite.layer_stats import LayerStats

__all__ = ["Cause", "Weights", "causes"]

CLIP_RATE = 0.001
SATURATION_RATE = 0.01
TOO_WIDE = 4.0
OUTLIER_RATIO = 4.0
CHANNEL_RATIO = 4.0
BYTES_A_CHANNEL = 16  # float32 scales of weight and bias, and an int64 zero point that both share
# Operators whose output range is fixed, or is that of their input, whatever the calibration saw.
FIXED_RANGE = frozenset(
    {"SOFTMAX", "LOGISTIC", "TANH", "LOG_SOFTMAX", "L2_NORMALIZATION", "RESHAPE", "SQUEEZE", "EXPAND_DIMS"}
    | {"TRANSPOSE", "AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "SLICE", "STRIDED_SLICE", "GATHER"}
)


class Cause(msgspec.Struct, frozen=True):
    """A likely cause of a layer's error.

    Attributes:
        kind: short, stable name.
        evidence: the measurement that speaks for it.
        remedy: what to try.
        cost_bytes: by how much the file grows with that; negative where it shrinks.
        work: what it takes to do: "conversion", seconds; or "training", minutes and more.
        changes_kernel: whether the layer then runs by another kernel, so that a call's time changes too.
    """

    kind: str
    evidence: str
    remedy: str
    cost_bytes: int
    work: Literal["conversion", "training"] = "conversion"
    changes_kernel: bool = False


class Weights(msgspec.Struct, frozen=True):
    """A layer's constant weights: the float values, and the quantized tensor."""

    real: Array
    quantized: TensorFacts


def causes(op: str, stats: LayerStats, weights: Weights | None) -> tuple[Cause, ...]:
    """The likely causes of a layer's error, those that cost least first.

    Args:
        op: the operator's name.
        stats: of its output.
        weights: where it has any.
    """
    found = [*range_causes(op, stats), *weight_causes(weights), *dead_channels(stats, weights)]
    stored = 0 if weights is None or weights.quantized.bytes is None else weights.quantized.bytes
    if weights is not None and weights.quantized.dtype != "float32":
        found.append(
            Cause(
                "rounding",
                f"{weights.quantized.dtype} weights: rounding alone, whatever the ranges",
                "keep the layer float with an override",
                4 * weights.real.size - stored,
                changes_kernel=True,
            )
        )
    return tuple(sorted(found, key=lambda c: abs(c.cost_bytes)))


def range_causes(op: str, stats: LayerStats) -> Iterator[Cause]:
    """Causes that lie in the range of the activations."""
    limits = stats.limits()
    if limits is None or op in FIXED_RANGE:
        return
    clipping, saturation = stats.clipped / stats.count, stats.saturated / stats.count
    wider, narrower = max(-limits[0], limits[1]), max(-stats.low, stats.high)
    if clipping > CLIP_RATE:
        yield Cause(
            "calibration_too_narrow",
            f"{clipping:.2%} of the values lie outside {limits[0]:.4g}…{limits[1]:.4g}; they reach "
            f"{stats.low:.4g}…{stats.high:.4g}",
            "calibrate with data like this, or with ranges='min_max' if it was",
            0,
        )
    elif narrower > 0 and wider / narrower > TOO_WIDE:
        yield Cause(
            "calibration_too_wide",
            f"the range is {wider / narrower:.1f} times what the values reach, which wastes "
            f"{math.log2(wider / narrower):.1f} bits",
            "calibrate with data like this, without outliers, or with ranges='least_error'",
            0,
        )
    if saturation > SATURATION_RATE and clipping > CLIP_RATE:
        yield Cause(
            "saturated",
            f"{saturation:.2%} of the values stand at an end of the range",
            "calibrate with wider data",
            0,
        )
    usual = stats.percentile(99.9)
    if usual > 0 and narrower / usual > OUTLIER_RATIO:
        yield Cause(
            "range_outlier",
            f"the largest value is {narrower / usual:.1f} times the 99.9th percentile",
            "use ranges='least_error', or int16 activations for this layer",
            0,
        )


def weight_causes(weights: Weights | None) -> Iterator[Cause]:
    """Causes that lie in the weights."""
    if weights is None or weights.quantized.dtype not in {"int8", "int4"}:
        return
    axis = 3 if weights.real.ndim == 4 and weights.real.shape[0] == 1 else 0
    channels = np.abs(np.moveaxis(weights.real, axis, 0).reshape(weights.real.shape[axis], -1)).max(axis=1)
    middle = float(np.median(channels))
    if len(weights.quantized.scales) == 1 and middle > 0 and channels.max() / middle > CHANNEL_RATIO:
        yield Cause(
            "unbalanced_channels",
            f"one scale for {len(channels)} channels whose largest weights differ by a factor of "
            f"{channels.max() / middle:.1f} (largest over median)",
            "equalize() the float model at no cost, or use a scale for each channel (dense_scales='channel')",
            BYTES_A_CHANNEL * (len(channels) - 1),
        )
    if weights.quantized.dtype == "int4":
        yield Cause(
            "int4_weights",
            "4-bit weights have 15 levels",
            "use int8 weights for this layer with an override",
            weights.quantized.bytes or 0,
        )


def dead_channels(stats: LayerStats, weights: Weights | None) -> Iterator[Cause]:
    """Channels that are zero on every sample: no cause of error, but bytes for nothing."""
    dead = int((stats.largest == 0).sum())
    if weights is not None and 0 < dead < len(stats.largest) and weights.quantized.bytes:
        yield Cause(
            "dead_channels",
            f"{dead} of {len(stats.largest)} channels are zero on every sample",
            "prune them before quantizing",
            -(weights.quantized.bytes * dead // len(stats.largest)),
            work="training",
        )
