"""Low-rank factorization of dense layers and convolutions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError
from edgeloop_converters.passes.channels import kind_of
from edgeloop_converters.passes.checks import check_at_least
from edgeloop_converters.passes.graph import Part, copy_layer, flatten, rebuild
from edgeloop_converters.passes.kernels import kernels_by_layer
from edgeloop_converters.passes.passed import Passed

if TYPE_CHECKING:
    import keras

__all__ = ["FactorReport", "LayerRank", "factorize"]

Matrix = NDArray[np.float64]

CONVOLUTIONS = frozenset({"Conv1D", "Conv2D"})


@dataclass(frozen=True)
class LayerRank:
    """A layer that was split at `rank`, and the share of its kernel's squared singular values it kept."""

    layer: str
    rank: int
    energy: float
    params_before: int
    params_after: int


@dataclass(frozen=True)
class FactorReport:
    """What `factorize` did: the layers that were split, in topological order."""

    layers: tuple[LayerRank, ...]


def factorize(model: keras.Model, *, rank: int | None = None, energy: float | None = None) -> Passed[FactorReport]:
    """Split dense layers and convolutions into two smaller layers each, by singular value decomposition.

    A dense layer becomes two; a k × k convolution becomes a k × k convolution with `rank` filters and a
    1 × 1 convolution (Zhang et al., "Accelerating very deep convolutional networks", TPAMI 2016, without its
    data). Only layers for which this takes fewer weights are split. The first of the two is named after the
    layer, with `_basis`.

    Args:
        model: a built functional or Sequential model.
        rank: the rank for all layers, at least 1; or
        energy: the share of the squared singular values to keep, in (0, 1]: the smallest rank that does is
            taken.

    Raises:
        ConfigError: not exactly one of `rank` and `energy`, or out of its range.
        ModelError: the graph can't be read, or there is no kernel.
    """
    if (rank is None) == (energy is None):
        raise ConfigError("give one of rank and energy")
    if rank is not None:
        check_at_least("rank", rank, 1)
    if energy is not None and not 0 < energy <= 1:
        raise ConfigError(f"energy is {energy!r}: it must be above 0 and at most 1")
    flat = flatten(model)
    kernels_by_layer(flat)
    chains: dict[str, tuple[Part, Part]] = {}
    layers = []
    taken = {layer.name for layer in flat.layers}
    for layer in flat.layers:
        if f"{layer.name}_basis" in taken or not can_split(layer):
            continue
        kernel = np.asarray(layer.kernel, dtype=np.float64)
        left, values, right = np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), full_matrices=False)
        kept = np.cumsum(values**2) / max(float(np.sum(values**2)), np.finfo(np.float64).tiny)
        chosen = min(rank, len(values)) if rank is not None else rank_for(kept, float(energy or 0))
        after = chosen * sum(left.shape[:1] + right.shape[1:])
        if after < kernel.size:
            chains[layer.name] = split(layer, left[:, :chosen] * values[:chosen], right[:chosen])
            layers.append(LayerRank(layer.name, chosen, float(kept[chosen - 1]), kernel.size, after))
    return Passed(rebuild(flat, chains), FactorReport(tuple(layers)))


def can_split(layer: Any) -> bool:
    """Whether the layer is one matrix product over channels_last data."""
    kind = kind_of(layer)
    return kind == "Dense" or (kind in CONVOLUTIONS and layer.groups == 1 and layer.data_format == "channels_last")


def rank_for(kept: Matrix, energy: float) -> int:
    """The smallest rank that keeps the share `energy`; rounding errors of the last bits don't count."""
    return int(np.searchsorted(kept, energy - 1e-12) + 1)


def split(layer: Any, basis: Matrix, mixing: Matrix) -> tuple[Part, Part]:
    """The two layers whose product is `basis` (inputs × rank) times `mixing` (rank × outputs)."""
    rank, own = basis.shape[1], layer.get_weights()
    kernel = own[0]
    width = "units" if kind_of(layer) == "Dense" else "filters"
    first = copy_layer(layer, name=f"{layer.name}_basis", use_bias=False, activation="linear", **{width: rank})
    pointwise = {} if width == "units" else {"kernel_size": 1, "strides": 1, "dilation_rate": 1, "padding": "valid"}
    second = copy_layer(layer, **pointwise)
    shape = (*kernel.shape[:-1], rank)
    last = (*([1] * (kernel.ndim - 2)), rank, kernel.shape[-1])
    return (
        Part(first, [basis.reshape(shape).astype(kernel.dtype)]),
        Part(second, [mixing.reshape(last).astype(kernel.dtype), *own[1:]]),
    )
