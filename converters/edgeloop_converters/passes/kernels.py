"""The weights that compression works on: kernels of convolutions, dense and recurrent layers, no biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop.errors import ConfigError, ModelError

if TYPE_CHECKING:
    import keras

__all__ = ["kernels_by_layer", "kernels_of", "per_layer"]

MATRIX = 2


def kernels_of(layer: Any) -> list[Any]:
    """The kernel variables of a layer and of the layers within it."""
    return [
        variable
        for variable in getattr(layer, "weights", [])
        if variable.name.endswith("kernel") and len(variable.shape) >= MATRIX
    ]


def kernels_by_layer(model: keras.Model) -> dict[str, list[Any]]:
    """The kernel variables of each layer of a flat model that has any.

    Raises:
        ModelError: no layer has a kernel, or one of them holds NaN or infinity.
    """
    found = {layer.name: kernels for layer in model.layers if (kernels := kernels_of(layer))}
    if not found:
        raise ModelError(f"model {model.name!r} has no layer with a kernel: there is nothing to compress")
    for name, kernels in found.items():
        if not all(np.isfinite(np.asarray(kernel)).all() for kernel in kernels):
            raise ModelError(f"the kernel of layer {name!r} holds NaN or infinity: train the model again")
    return found


def per_layer(name: str, value: float | Mapping[str, float], layers: list[str]) -> dict[str, float]:
    """The value for each of `layers`: one for all, or those named; `ConfigError` on unknown names."""
    if not isinstance(value, Mapping):
        return dict.fromkeys(layers, value)
    unknown = [layer for layer in value if layer not in layers]
    if unknown:
        raise ConfigError(f"{name} names the layers {unknown}, which have no kernel: choose among {layers}")
    return dict(value)
