"""Cut removed channels out of a layer: its configuration, and each axis of each of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.passes.channels import DEPTHWISE, MAKERS, kind_of
from edgeloop_converters.passes.graph import Part, copy_layer

__all__ = ["axes_of", "slice_layer"]

Mask = NDArray[np.bool_]
Axes = tuple[tuple[int, str], ...]

OUT: Axes = ((-1, "out"),)


def axes_of(layer: Any) -> tuple[Axes, ...]:
    """Which axes of which weights hold channels, in the order of `layer.get_weights()`.

    Each weight has pairs of (axis, "in" or "out"): the axis is indexed by the channels that enter the layer
    or by those that leave it. A separable convolution's pointwise kernel is indexed by "expanded": the
    entering channels times its depth multiplier. Weights of layers that have no channels of their own are
    not listed.
    """
    kind = kind_of(layer)
    bias: tuple[Axes, ...] = (OUT,) if getattr(layer, "use_bias", False) else ()
    if kind == "Conv2DTranspose":
        return (((-1, "in"), (-2, "out")), *bias)
    if kind.startswith("Separable"):
        return (((-2, "in"),), ((-2, "expanded"), (-1, "out")), *bias)
    if kind in MAKERS:
        return (((-2, "in"), (-1, "out")), *bias)
    if kind in DEPTHWISE:
        return (((-2, "in"),), *bias)
    if kind in {"BatchNormalization", "PReLU"}:
        return (OUT,) * len(layer.get_weights())
    return ()


def slice_layer(layer: Any, keep_in: Mask, keep_out: Mask, shape_out: Sequence[int | None]) -> Part:
    """A smaller copy of `layer` that reads and makes only the channels that are kept.

    Args:
        layer: a built layer of a kind that `channels` follows.
        keep_in: which of the channels that enter it stay, shape (channels in,), bool.
        keep_out: which of the channels that leave it stay, shape (channels out,), bool.
        shape_out: the shape of what it returns, batch axis first.
    """
    keep = {
        "in": keep_in,
        "out": keep_out,
        "expanded": np.repeat(keep_in, getattr(layer, "depth_multiplier", 1)),
    }
    weights = []
    for weight, axes in zip(layer.get_weights(), axes_of(layer), strict=False):
        for axis, side in axes:
            weight = np.compress(keep[side], weight, axis=axis)  # noqa: PLW2901 - one cut after the other
        weights.append(weight)
    return Part(copy_layer(layer, **changed_config(layer, keep_out, shape_out)), weights)


def changed_config(layer: Any, keep_out: Mask, shape_out: Sequence[int | None]) -> dict[str, Any]:
    """The entries of the layer's configuration that say how many channels it makes."""
    kind, count = kind_of(layer), int(keep_out.sum())
    if kind == "Dense":
        return {"units": count}
    if kind in MAKERS:
        return {"filters": count}
    if kind == "Reshape":
        return {"target_shape": (*shape_out[1:-1], count)}
    return {}
