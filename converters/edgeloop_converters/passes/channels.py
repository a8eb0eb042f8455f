"""Follow each channel of a model through its layer graph, to know which channels must be removed together.

Every channel of every tensor (an entry of its last axis) carries a label. A layer that makes channels makes
new labels; one that passes them on passes their labels on; one that combines tensors channel by channel
unites their labels. At the end, labels that were united stand for one removable unit: the coupled channels
of DepGraph (Fang et al., "DepGraph: Towards any structural pruning", CVPR 2023), but channel by channel
instead of layer by layer, which makes concatenation, flattening and depth multipliers plain array
operations.

What a layer isn't known to do with its channels is never guessed: its inputs' and outputs' labels are
protected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.passes.graph import Call, read_calls

if TYPE_CHECKING:
    import keras

__all__ = ["Channels", "Labels", "kind_of", "trace_channels"]

Labels = NDArray[np.int64]

MAKERS = frozenset({"Dense", "Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "SeparableConv1D", "SeparableConv2D"})
DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
COMBINERS = frozenset({"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum"})
RESHAPERS = frozenset({"Flatten", "Reshape"})
PASSERS = frozenset(
    {
        *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Identity", "BatchNormalization", "Rescaling"),
        *("Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
        *("ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D", "UpSampling1D", "UpSampling2D"),
        *("MaxPooling1D", "MaxPooling2D", "AveragePooling1D", "AveragePooling2D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D"),
        *("Relu", "Relu6", "Sigmoid", "Tanh", "Silu", "Swish", "Gelu", "HardSigmoid", "HardSilu", "Elu"),
    }
)
REDUCERS = frozenset({"Mean", "Max"})
MIXING_ACTIVATIONS = frozenset({"softmax", "log_softmax", "sparsemax", "glu", "threshold"})


@dataclass(frozen=True)
class Channels:
    """The labels of all tensors of a flat model.

    Args:
        calls: the model's calls, in topological order.
        labels: labels of the channels of each tensor, by `id(tensor)`, shape (channels,); equal labels are
            coupled, within a tensor and across tensors.
        protected: why a label must not be removed, by label.
    """

    calls: tuple[Call, ...]
    labels: Mapping[int, Labels]
    protected: Mapping[int, str]

    def of(self, tensor: Any) -> Labels:
        """The labels of the channels of `tensor`."""
        return self.labels[id(tensor)]


class Union:
    """Disjoint sets of labels that grow (union by smallest member, path halving)."""

    def __init__(self) -> None:
        self.parents: list[int] = []
        self.reasons: dict[int, str] = {}

    def new(self, count: int) -> Labels:
        start = len(self.parents)
        self.parents.extend(range(start, start + count))
        return np.arange(start, start + count)

    def find(self, label: int) -> int:
        while self.parents[label] != label:
            self.parents[label] = self.parents[self.parents[label]]
            label = self.parents[label]
        return label

    def unite(self, left: Labels, right: Labels) -> None:
        for one, other in zip(left.tolist(), right.tolist(), strict=True):
            low, high = sorted((self.find(one), self.find(other)))
            self.parents[high] = low

    def protect(self, labels: Labels, reason: str) -> None:
        for label in labels.tolist():
            self.reasons.setdefault(label, reason)


def trace_channels(model: keras.Model) -> Channels:
    """Label the channels of all tensors in the flat `model` (see `graph.flatten`)."""
    union = Union()
    labels: dict[int, Labels] = {}
    made: dict[int, list[Labels]] = {}
    for tensor in model.inputs:
        labels[id(tensor)] = union.new(width(tensor))
        union.protect(labels[id(tensor)], "it is an input of the model")
    calls = read_calls(model)
    for call in calls:
        entering = [labels[id(tensor)] for tensor in call.inputs]
        leaving = follow(union, call, entering)
        for tensor, found in zip(call.outputs, leaving, strict=True):
            labels[id(tensor)] = found
        touched = [*entering, *leaving]
        # A layer that is called again couples the channels of both calls.
        for before, now in zip(made.setdefault(id(call.layer), touched), touched, strict=True):
            union.unite(before, now)
    for tensor, name in zip(model.outputs, model.output_names, strict=True):
        union.reasons.update(dict.fromkeys(labels[id(tensor)].tolist(), f"it is the output {name!r} of the model"))
    roots = np.asarray([union.find(label) for label in range(len(union.parents))], dtype=np.int64)
    protected: dict[int, str] = {}
    for label, reason in sorted(union.reasons.items()):
        protected.setdefault(int(roots[label]), reason)
    final = {key: roots[found] for key, found in labels.items()}
    return Channels(calls, MappingProxyType(final), MappingProxyType(protected))


def width(tensor: Any) -> int:
    """The size of the last axis; 1 for a scalar per example or where it isn't known."""
    return int(tensor.shape[-1] or 1) if len(tensor.shape) > 1 else 1


def kind_of(layer: Any) -> str:
    """The name of a built-in layer's class; empty for a class that Keras doesn't define."""
    return type(layer).__name__ if type(layer).__module__.split(".")[0] == "keras" else ""


def follow(union: Union, call: Call, entering: Sequence[Labels]) -> list[Labels]:
    """The labels of what `call` returns."""
    leaving = known(union, call, entering)
    if leaving is None:
        reason = f"{call.layer.name!r} ({type(call.layer).__name__}) uses channels in a way that isn't known"
        fresh = [union.new(width(tensor)) for tensor in call.outputs]
        for found in [*entering, *fresh]:
            union.protect(found, reason)
        return fresh
    return [leaving]


def known(union: Union, call: Call, entering: Sequence[Labels]) -> Labels | None:
    """The labels of the one tensor that a layer of a known kind returns, or None."""
    layer, kind = call.layer, kind_of(call.layer)
    if getattr(layer, "data_format", None) == "channels_first" or len(call.outputs) != 1:
        return None
    if kind in COMBINERS:
        return combine(union, call, entering)
    if kind == "Concatenate":
        return join(call, entering)
    if len(entering) != 1:
        return None
    rules: dict[frozenset[str], Callable[[], Labels | None]] = {
        MAKERS: lambda: make(union, call),
        DEPTHWISE: lambda: np.repeat(entering[0], layer.depth_multiplier),
        RESHAPERS: lambda: reshape(call, entering[0]),
        PASSERS | REDUCERS: lambda: entering[0] if passes(call) else None,
    }
    found = next((rule() for kinds, rule in rules.items() if kind in kinds), None)
    if found is not None and activation_mixes(layer):
        union.protect(found, f"{layer.name!r} applies {layer.activation.__name__}, which mixes the channels")
    return found


def make(union: Union, call: Call) -> Labels | None:
    """New labels for the channels that a convolution or dense layer makes."""
    if getattr(call.layer, "groups", 1) != 1 or call.layer.get_config().get("lora_rank"):
        return None
    return union.new(width(call.outputs[0]))


def combine(union: Union, call: Call, entering: Sequence[Labels]) -> Labels | None:
    """Unite tensors that are combined element by element; a constant operand must be a scalar."""
    ranks = {len(tensor.shape) for tensor in call.inputs}
    sizes = {len(found) for found in entering}
    if len(ranks) != 1 or len(sizes) != 1 or len(entering[0]) != width(call.outputs[0]):
        return None
    if len(entering) == 1 and not scalar_operand(call):
        return None
    for other in entering[1:]:
        union.unite(entering[0], other)
    return entering[0]


def scalar_operand(call: Call) -> bool:
    """Whether all that an operation such as `x + 1` was given beside its tensor is scalar."""
    arguments = next(
        node.arguments
        for node in call.layer._inbound_nodes  # noqa: SLF001 - constants stand nowhere else
        if node.outputs[0] is call.outputs[0]
    )
    constants = [x for x in (*arguments.args, *arguments.kwargs.values()) if x is not call.inputs[0]]
    return all(np.ndim(constant) == 0 for constant in constants)


def join(call: Call, entering: Sequence[Labels]) -> Labels | None:
    """Concatenated along the channels, labels are concatenated; along another axis, nothing is known."""
    axis, rank = getattr(call.layer, "axis", None), len(call.outputs[0].shape)
    return np.concatenate(list(entering)) if axis in {-1, rank - 1} else None


def reshape(call: Call, entering: Labels) -> Labels | None:
    """Labels after a reshape that keeps each channel apart (such as channels_last `Flatten`), or None."""
    before, after = call.inputs[0].shape[1:], call.outputs[0].shape[1:]
    if None in before or None in after or not before or not after:
        return None
    full = np.broadcast_to(entering, before).reshape(after)
    rows = full.reshape(-1, after[-1])
    return np.array(rows[0]) if bool(np.all(rows == rows[0])) else None


def passes(call: Call) -> bool:
    """Whether a layer of the passing kinds passes its channels on one by one, as it is configured."""
    layer, kind = call.layer, kind_of(call.layer)
    rank = len(call.inputs[0].shape)
    if kind == "BatchNormalization":
        return layer.axis in {-1, rank - 1}
    if kind in REDUCERS:
        axes = np.atleast_1d(range(rank) if layer.axis is None else layer.axis) % rank
        return rank - 1 not in axes
    if kind == "Rescaling":
        return np.ndim(layer.scale) == 0 and np.ndim(layer.offset) == 0
    return len(call.inputs[0].shape) > 1 and width(call.inputs[0]) == width(call.outputs[0])


def activation_mixes(layer: Any) -> bool:
    """Whether the layer's own activation isn't element-wise, as far as can be known."""
    activation = getattr(layer, "activation", None)
    if activation is None:
        return False
    own = getattr(activation, "__module__", "").split(".")[0] == "keras"
    return not own or getattr(activation, "__name__", "") in MIXING_ACTIVATIONS
