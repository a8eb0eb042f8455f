"""Scale the channels that enter or leave a layer, and read their weights' ranges and quantized values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.passes.channels import DEPTHWISE, MAKERS, kind_of

__all__ = ["SCALABLE", "quantize_weights", "range_in", "range_out", "scale_in", "scale_out"]

Weights = Sequence[NDArray[np.floating]]
Vector = NDArray[np.floating]

SCALABLE = MAKERS | DEPTHWISE


def last_kernel(layer: Any) -> int:
    """The index, among the layer's weights, of the kernel that makes the leaving channels."""
    return 1 if kind_of(layer).startswith("Separable") else 0


def by_out(layer: Any, factor: Vector) -> Vector:
    """A vector over the leaving channels, shaped to multiply the last kernel."""
    if kind_of(layer) in DEPTHWISE:
        return factor.reshape(-1, layer.depth_multiplier)
    return factor[:, None] if kind_of(layer) == "Conv2DTranspose" else factor


def by_in(layer: Any, factor: Vector) -> Vector:
    """A vector over the entering channels, shaped to multiply the first kernel."""
    return factor if kind_of(layer) == "Conv2DTranspose" else factor[:, None]


def scale_out(layer: Any, weights: Weights, factor: Vector) -> list[NDArray[np.floating]]:
    """The weights with each leaving channel multiplied by `factor`, shape (channels out,), the bias too."""
    scaled = list(weights)
    kernel = last_kernel(layer)
    scaled[kernel] = (weights[kernel] * by_out(layer, factor)).astype(weights[kernel].dtype)
    if layer.use_bias:
        scaled[-1] = (weights[-1] * factor).astype(weights[-1].dtype)
    return scaled


def scale_in(layer: Any, weights: Weights, factor: Vector) -> list[NDArray[np.floating]]:
    """The weights with those of each entering channel multiplied by `factor`, shape (channels in,)."""
    scaled = list(weights)
    scaled[0] = (weights[0] * by_in(layer, factor)).astype(weights[0].dtype)
    return scaled


def range_out(layer: Any, weights: Weights) -> Vector:
    """The largest magnitude among the weights of each leaving channel, shape (channels out,)."""
    kernel = np.abs(weights[last_kernel(layer)])
    if kind_of(layer) in DEPTHWISE:
        kernel = kernel.reshape(*kernel.shape[:-2], -1)
    if kind_of(layer) == "Conv2DTranspose":
        kernel = np.swapaxes(kernel, -1, -2)
    return np.asarray(kernel.reshape(-1, kernel.shape[-1]).max(axis=0))


def range_in(layer: Any, weights: Weights) -> Vector:
    """The largest magnitude among the weights of each entering channel, shape (channels in,)."""
    kernel = np.abs(weights[0])
    if kind_of(layer) != "Conv2DTranspose":
        kernel = np.swapaxes(kernel, -1, -2)
    return np.asarray(kernel.reshape(-1, kernel.shape[-1]).max(axis=0))


def quantize_weights(layer: Any, weights: Weights, bits: int, *, per_channel: bool) -> list[NDArray[np.floating]]:
    """The weights as symmetric `bits`-bit integers would hold them; the bias is left alone."""
    levels = 2 ** (bits - 1) - 1
    rounded = list(weights)
    for position in range(last_kernel(layer) + 1):
        kernel = weights[position]
        if per_channel and position == last_kernel(layer):
            limit = by_out(layer, range_out(layer, weights))
        elif per_channel:  # a separable convolution's depthwise kernel
            limit = np.abs(kernel).max(axis=tuple(range(kernel.ndim - 2)))
        else:
            limit = np.abs(kernel).max()
        step = np.maximum(limit / levels, np.finfo(kernel.dtype).tiny)
        rounded[position] = (np.round(kernel / step) * step).astype(kernel.dtype)
    return rounded
