"""Bias correction: cancel the shift of each layer's mean output that rounding its weights causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError
from edgeloop_converters.passes.channels import kind_of
from edgeloop_converters.passes.checks import Arrays, check_inputs
from edgeloop_converters.passes.graph import Part, copy_layer, flatten, rebuild, walk
from edgeloop_converters.passes.kernels import kernels_by_layer
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.scaling import SCALABLE, quantize_weights

if TYPE_CHECKING:
    import keras

__all__ = ["BiasReport", "LayerShift", "correct_bias"]

FEWEST_BITS, MOST_BITS = 2, 16


@dataclass(frozen=True)
class LayerShift:
    """The largest shift of a channel's mean output that was corrected in a layer, in its output's units."""

    layer: str
    shift: float


@dataclass(frozen=True)
class BiasReport:
    """What `correct_bias` did: each corrected layer, in topological order."""

    layers: tuple[LayerShift, ...]


@dataclass(frozen=True)
class Twin:
    """One tensor as the float model computes it and as the model with rounded weights does."""

    exact: Any
    rounded: Any


def correct_bias(model: keras.Model, x: Arrays, *, bits: int = 8, per_channel: bool = True) -> Passed[BiasReport]:
    """Change the biases so that quantizing the weights leaves each layer's mean output what it was.

    Layer by layer, the mean over `x` of what the float layer and the layer with rounded weights give is
    compared, with all corrections before it in force, and the difference is added to the bias (Nagel et
    al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, the empirical
    variant). The kernels stay in float; a layer without a bias gets one.

    Args:
        model: a built functional or Sequential model; fold batch normalization first.
        x: some hundreds of calibration inputs, shape (n, ...), all held in memory with every layer's output.
        bits: of the weights, 2 to 16.
        per_channel: whether each channel of a kernel has a scale of its own, or the kernel one.

    Raises:
        ConfigError: `bits` is out of range.
        DataError: `x` doesn't fit the model, or holds NaN.
        ModelError: the graph can't be read.
    """
    if not FEWEST_BITS <= bits <= MOST_BITS:
        raise ConfigError(f"bits is {bits!r}: it must be {FEWEST_BITS} to {MOST_BITS}")
    exact = with_biases(flatten(model))
    kernels_by_layer(exact)
    inputs = check_inputs(exact, x)
    rounded = flatten(exact)
    activations = {layer.name: make_linear(layer) for layer in exact.layers if kind_of(layer) in SCALABLE}
    for layer in rounded.layers:
        if layer.name in activations:
            make_linear(layer)
            layer.set_weights(quantize_weights(layer, layer.get_weights(), bits, per_channel=per_channel))
    shifts: dict[str, NDArray[np.floating]] = {}

    def apply(layer: Any, *args: Any, **kwargs: Any) -> Twin:
        ours = layer(*side(args, "exact"), **side(kwargs, "exact"))
        if layer.name not in activations:
            return Twin(ours, layer(*side(args, "rounded"), **side(kwargs, "rounded")))
        theirs = rounded.get_layer(layer.name)(*side(args, "rounded"), **side(kwargs, "rounded"))
        if layer.name not in shifts:
            difference = np.asarray(ours) - np.asarray(theirs)
            shifts[layer.name] = difference.mean(axis=tuple(range(difference.ndim - 1)))
        return Twin(activations[layer.name](ours), activations[layer.name](theirs + shifts[layer.name]))

    tensors = [
        Twin(array.astype(t.dtype), array.astype(t.dtype)) for array, t in zip(inputs, exact.inputs, strict=True)
    ]
    walk(exact, tensors, apply)
    corrected = with_biases(flatten(model))
    for name, shift in shifts.items():
        bias = corrected.get_layer(name).bias
        bias.assign(np.asarray(bias) + shift)
    layers = tuple(LayerShift(name, float(np.abs(shift).max())) for name, shift in shifts.items())
    return Passed(corrected, BiasReport(layers))


def cast_inputs(model: keras.Model, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The inputs in the dtypes that the model takes."""
    return [array.astype(tensor.dtype) for array, tensor in zip(inputs, model.inputs, strict=True)]


def side(structure: Any, which: str) -> Any:
    """Arguments with each `Twin` replaced by one of its tensors."""
    import keras

    return keras.tree.map_structure(
        lambda value: getattr(value, which) if isinstance(value, Twin) else value, structure
    )


def make_linear(layer: Any) -> Any:
    """Take the activation off a layer of our own, and give it back."""
    import keras

    activation, layer.activation = layer.activation, keras.activations.linear
    return activation


def with_biases(model: keras.Model) -> keras.Model:
    """The flat model with a zero bias where a convolution or dense layer has none."""
    chains = {}
    for layer in model.layers:
        if kind_of(layer) in SCALABLE and not layer.use_bias:
            weights = layer.get_weights()
            zeros = np.zeros(layer.output.shape[-1], dtype=weights[0].dtype)
            chains[layer.name] = (Part(copy_layer(layer, use_bias=True), [*weights, zeros]),)
    return rebuild(model, chains)
