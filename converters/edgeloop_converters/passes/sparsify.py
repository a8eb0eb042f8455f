"""Magnitude sparsity: set the smallest weights to zero, so that the artifact packs smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError
from edgeloop_converters.passes.checks import check_fraction
from edgeloop_converters.passes.graph import flatten
from edgeloop_converters.passes.kernels import kernels_by_layer, per_layer
from edgeloop_converters.passes.passed import Passed

if TYPE_CHECKING:
    import keras

__all__ = ["LayerSparsity", "SparsityReport", "sparsify"]


@dataclass(frozen=True)
class LayerSparsity:
    """How many weights of a layer's kernels are zero, of how many."""

    layer: str
    zeros: int
    weights: int


@dataclass(frozen=True)
class SparsityReport:
    """What `sparsify` did: each layer with a kernel, in topological order."""

    layers: tuple[LayerSparsity, ...]

    @property
    def sparsity(self) -> float:
        """The share of zeros among all kernels' weights."""
        return sum(layer.zeros for layer in self.layers) / sum(layer.weights for layer in self.layers)


def sparsify(
    model: keras.Model, *, sparsity: float | Mapping[str, float], scope: Literal["layer", "model"] = "layer"
) -> Passed[SparsityReport]:
    """Set the kernel weights of smallest magnitude to zero (Han et al., NeurIPS 2015).

    Zeros that are there already count. Biases and normalization stay. Keep the zeros in later training with
    `keep=("zeros",)`.

    Args:
        model: a built functional or Sequential model.
        sparsity: the share of zeros to reach, in [0, 1): one for all, or by layer name (others stay as they
            are).
        scope: rank the weights within each layer, or over the whole model (then `sparsity` is one number).

    Raises:
        ConfigError: a share out of range, an unknown layer, or shares by layer with the scope "model".
        ModelError: the graph can't be read, or there is no kernel.
    """
    sparse = flatten(model)
    kernels = kernels_by_layer(sparse)
    shares = per_layer("sparsity", sparsity, list(kernels))
    for name, share in shares.items():
        check_fraction(f"the sparsity of layer {name!r}", share)
    if scope not in {"layer", "model"} or (scope == "model" and isinstance(sparsity, Mapping)):
        raise ConfigError(f"scope is {scope!r}: give 'layer', or 'model' with one sparsity for all")
    pools = [list(kernels.values())] if scope == "model" else [[found] for found in kernels.values()]
    wanted = list(shares.values())[:1] if scope == "model" else [shares.get(name, 0.0) for name in kernels]
    for pool, share in zip(pools, wanted, strict=True):
        variables = [variable for found in pool for variable in found]
        for variable, values in zip(variables, drop_smallest([np.asarray(v) for v in variables], share), strict=True):
            variable.assign(values)
    return Passed(sparse, SparsityReport(tuple(count_zeros(name, found) for name, found in kernels.items())))


def drop_smallest(kernels: list[NDArray[np.floating]], share: float) -> list[NDArray[np.floating]]:
    """The kernels with the `share` of smallest magnitude among all their weights set to zero."""
    magnitudes = np.concatenate([np.abs(kernel).reshape(-1) for kernel in kernels])
    alive = np.ones(magnitudes.size, dtype=bool)
    alive[np.argsort(magnitudes, kind="stable")[: round(share * magnitudes.size)]] = False
    parts = np.split(alive, np.cumsum([kernel.size for kernel in kernels])[:-1])
    return [kernel * part.reshape(kernel.shape) for kernel, part in zip(kernels, parts, strict=True)]


def count_zeros(name: str, kernels: list[object]) -> LayerSparsity:
    """The zeros of one layer's kernels."""
    arrays = [np.asarray(kernel) for kernel in kernels]
    return LayerSparsity(name, int(sum((a == 0).sum() for a in arrays)), sum(a.size for a in arrays))
