"""Fold batch normalization into the layer before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop_converters.passes.channels import kind_of
from edgeloop_converters.passes.graph import Call, Part, consumers, copy_layer, flatten, read_calls, rebuild
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.scaling import SCALABLE, scale_out

if TYPE_CHECKING:
    import keras

__all__ = ["FoldReport", "LayerReason", "fold_batch_norm"]


@dataclass(frozen=True)
class LayerReason:
    """A layer that a pass left alone, and why."""

    layer: str
    reason: str


@dataclass(frozen=True)
class FoldReport:
    """What `fold_batch_norm` did.

    Args:
        folded: the batch normalizations that are gone.
        skipped: those that are left.
    """

    folded: tuple[str, ...]
    skipped: tuple[LayerReason, ...]


def fold_batch_norm(model: keras.Model) -> Passed[FoldReport]:
    """Multiply batch normalizations into the layers before them (Jacob et al., CVPR 2018, § 3.2).

    The outputs stay the same up to rounding. The moving statistics are frozen by it, so fold after the
    training that needs them. Raises `ModelError` where the graph can't be read.
    """
    flat = flatten(model)
    calls = read_calls(flat)
    makers = {id(tensor): call for call in calls for tensor in call.outputs}
    readers = consumers(calls)
    outputs = {id(tensor) for tensor in flat.outputs}
    names = [call.layer.name for call in calls]
    repeated = {name for name in names if names.count(name) > 1}
    chains: dict[str, tuple[Part, ...]] = {}
    folded, skipped = [], []
    for call in calls:
        if kind_of(call.layer) != "BatchNormalization":
            continue
        source = makers.get(id(call.inputs[0]))
        shared = source is not None and (len(readers[id(call.inputs[0])]) > 1 or id(call.inputs[0]) in outputs)
        reason = obstacle(call, source, shared=shared, repeated=repeated)
        if source is None or reason:
            skipped.append(LayerReason(call.layer.name, reason))
            continue
        chains[source.layer.name] = (folded_part(source.layer, call.layer),)
        chains[call.layer.name] = ()
        folded.append(call.layer.name)
    return Passed(rebuild(flat, chains), FoldReport(tuple(folded), tuple(skipped)))


def obstacle(norm: Call, source: Call | None, *, shared: bool, repeated: set[str]) -> str:
    """Why a batch normalization can't be folded into what is before it; empty if it can."""
    if norm.layer.axis not in {-1, len(norm.inputs[0].shape) - 1}:
        return "it doesn't normalize the last axis"
    if source is None or kind_of(source.layer) not in SCALABLE:
        return "no convolution or dense layer is directly before it"
    if source.layer.activation.__name__ != "linear":
        return f"layer {source.layer.name!r} before it applies {source.layer.activation.__name__} first"
    if shared:
        return f"something else reads the output of layer {source.layer.name!r} too"
    if {norm.layer.name, source.layer.name} & repeated:
        return "it, or the layer before it, is called several times"
    return ""


def folded_part(layer: Any, norm: Any) -> Part:
    """The layer that does what `layer` followed by `norm` does."""
    factor = 1 / np.sqrt(np.asarray(norm.moving_variance, dtype=np.float64) + norm.epsilon)
    if norm.gamma is not None:
        factor = factor * np.asarray(norm.gamma)
    shift = -np.asarray(norm.moving_mean, dtype=np.float64) * factor
    if norm.beta is not None:
        shift = shift + np.asarray(norm.beta)
    weights = scale_out(layer, layer.get_weights(), factor)
    bias = weights.pop() if layer.use_bias else 0.0
    return Part(copy_layer(layer, use_bias=True), [*weights, (bias + shift).astype(weights[0].dtype)])
