"""Cross-layer equalization: give neighbouring layers' channels like ranges, so that few bits serve all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.passes.channels import RESHAPERS, kind_of, reshape
from edgeloop_converters.passes.fold import LayerReason
from edgeloop_converters.passes.graph import Call, consumers, flatten, read_calls
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.scaling import SCALABLE, range_in, range_out, scale_in, scale_out

if TYPE_CHECKING:
    import keras

__all__ = ["EqualizeReport", "equalize"]

ROUNDS = 50
SETTLED = 1e-3

HOMOGENEOUS = frozenset(
    {
        *("ReLU", "LeakyReLU", "PReLU", "Activation", "Identity", "Dropout", "Relu", "SpatialDropout2D"),
        *("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D", "UpSampling1D", "UpSampling2D"),
        *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
    }
)
HOMOGENEOUS_ACTIVATIONS = frozenset({"linear", "relu", "leaky_relu"})


@dataclass(frozen=True)
class EqualizeReport:
    """What `equalize` did.

    Args:
        pairs: the layers whose ranges were equalized, as (first, second).
        skipped: layers that could be the first of a pair, with why they aren't.
        rounds: how often all pairs were gone through.
    """

    pairs: tuple[tuple[str, str], ...]
    skipped: tuple[LayerReason, ...]
    rounds: int


@dataclass(frozen=True)
class Pair:
    """Two layers with nothing but positively homogeneous layers between them.

    Args:
        first: the layer that makes the channels.
        second: the only layer that reads them.
        source: for each channel that enters `second`, the channel of `first` that it is, shape (channels
            in,).
    """

    first: Any
    second: Any
    source: NDArray[np.int64]


def equalize(model: keras.Model) -> Passed[EqualizeReport]:
    """Rescale channels between pairs of layers without changing what the model computes.

    For a function with f(s·x) = s·f(x) for s > 0, such as ReLU, a channel may be divided by s in one layer
    and multiplied by s in the next; s is chosen so that both layers' ranges for the channel agree (Nagel et
    al., "Data-free quantization through weight equalization and bias correction", ICCV 2019). ReLU6 isn't
    such a function: layers before one are left alone and reported. Fold batch normalization first. Raises
    `ModelError` where the graph can't be read.
    """
    flat = flatten(model)
    pairs, skipped = find_pairs(flat)
    weights = {layer.name: layer.get_weights() for pair in pairs for layer in (pair.first, pair.second)}
    rounds, largest = 0, np.inf if pairs else 0.0
    while rounds < ROUNDS and largest > SETTLED:
        largest = max(equalize_pair(pair, weights) for pair in pairs)
        rounds += 1
    for name, values in weights.items():
        flat.get_layer(name).set_weights(values)
    names = tuple((pair.first.name, pair.second.name) for pair in pairs)
    return Passed(flat, EqualizeReport(names, skipped, rounds))


def equalize_pair(pair: Pair, weights: dict[str, Any]) -> float:
    """Equalize one pair once, in place in `weights`; the largest logarithm of a scale that it took."""
    ours, theirs = weights[pair.first.name], weights[pair.second.name]
    outgoing = range_out(pair.first, ours).astype(np.float64)
    incoming = np.zeros_like(outgoing)
    np.maximum.at(incoming, pair.source, range_in(pair.second, theirs))
    alive = (outgoing > 0) & (incoming > 0)
    scale = np.ones_like(outgoing)
    scale[alive] = np.sqrt(outgoing[alive] / incoming[alive])
    weights[pair.first.name] = scale_out(pair.first, ours, 1 / scale)
    weights[pair.second.name] = scale_in(pair.second, theirs, scale[pair.source])
    return float(np.abs(np.log(scale)).max())


def find_pairs(model: keras.Model) -> tuple[list[Pair], tuple[LayerReason, ...]]:
    """The pairs of a flat model, and the layers that begin none."""
    calls = read_calls(model)
    readers = consumers(calls)
    outputs = {id(tensor) for tensor in model.outputs}
    names = [call.layer.name for call in calls]
    repeated = {name for name in names if names.count(name) > 1}
    pairs, skipped = [], []
    for call in calls:
        if kind_of(call.layer) not in SCALABLE:
            continue
        found = follow_pair(call, readers, outputs, repeated)
        if isinstance(found, Pair):
            pairs.append(found)
        elif found:
            skipped.append(LayerReason(call.layer.name, found))
    return pairs, tuple(skipped)


def follow_pair(start: Call, readers: Mapping[int, list[Call]], outputs: set[int], repeated: set[str]) -> Pair | str:
    """The pair that begins at `start`, or why there is none."""
    call, source = start, np.arange(start.outputs[0].shape[-1])
    while True:
        if call.layer.name in repeated:
            return f"layer {call.layer.name!r} is called several times"
        if not homogeneous(call.layer):
            return f"layer {call.layer.name!r} isn't positively homogeneous (it clips, saturates or shifts)"
        tensor = call.outputs[0]
        if id(tensor) in outputs:
            return "it makes an output of the model"
        if len(readers.get(id(tensor), ())) != 1:
            return f"several layers read the output of layer {call.layer.name!r}"
        call = readers[id(tensor)][0]
        kind = kind_of(call.layer)
        if getattr(call.layer, "data_format", None) == "channels_first":
            return f"layer {call.layer.name!r} puts the channels first"
        if kind in SCALABLE and getattr(call.layer, "groups", 1) == 1:
            if call.layer.name in repeated:
                return f"layer {call.layer.name!r} is called several times"
            return Pair(start.layer, call.layer, source)
        if kind == "BatchNormalization":
            return f"batch normalization {call.layer.name!r} is between: call fold_batch_norm first"
        if kind in RESHAPERS:
            moved = reshape(call, source)
            if moved is None:
                return f"layer {call.layer.name!r} mixes the channels"
            source = moved
        elif kind not in HOMOGENEOUS:
            return f"layer {call.layer.name!r} ({type(call.layer).__name__}) is between"


def homogeneous(layer: Any) -> bool:
    """Whether f(s·x) = s·f(x) for s > 0, as the layer is configured."""
    if getattr(layer, "max_value", None) is not None or getattr(layer, "threshold", 0) not in {0, None}:
        return False
    activation = getattr(layer, "activation", None)
    if activation is None:
        return True
    return getattr(activation, "__name__", "") in HOMOGENEOUS_ACTIVATIONS
