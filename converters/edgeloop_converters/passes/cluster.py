"""Weight clustering: each kernel shares a few values, so that the artifact packs smaller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.passes.checks import check_at_least
from edgeloop_converters.passes.graph import flatten
from edgeloop_converters.passes.kernels import kernels_by_layer, per_layer
from edgeloop_converters.passes.passed import Passed

if TYPE_CHECKING:
    import keras

__all__ = ["ClusterReport", "LayerClusters", "cluster_weights", "k_means"]

Values = NDArray[np.float64]

ROUNDS = 100


@dataclass(frozen=True)
class LayerClusters:
    """How many different values a layer's kernels hold, and the root mean square error of sharing them."""

    layer: str
    clusters: int
    error: float


@dataclass(frozen=True)
class ClusterReport:
    """What `cluster_weights` did: each layer that was clustered, in topological order."""

    layers: tuple[LayerClusters, ...]


def cluster_weights(model: keras.Model, *, clusters: int | Mapping[str, int] = 16) -> Passed[ClusterReport]:
    """Let the weights of each kernel share a few values (Han et al., "Deep compression", ICLR 2016).

    Zeros that are there already (after `sparsify`) stay zero, and zero is then one of the values. Keep the
    clusters in later training with `keep=("clusters",)`.

    Args:
        model: a built functional or Sequential model.
        clusters: how many values a kernel may hold, at least 2: one for all, or by layer name.

    Raises:
        ConfigError: fewer than 2 clusters, or an unknown layer.
        ModelError: the graph can't be read, or there is no kernel.
    """
    clustered = flatten(model)
    kernels = kernels_by_layer(clustered)
    wanted = per_layer("clusters", clusters, list(kernels))
    for name, count in wanted.items():
        check_at_least(f"the number of clusters of layer {name!r}", count, 2)
    layers = []
    for name, found in kernels.items():
        if name not in wanted:
            continue
        values, errors = 0, 0.0
        for kernel in found:
            before = np.asarray(kernel)
            after = share_values(before, int(wanted[name]))
            kernel.assign(after)
            values = max(values, len(np.unique(after)))
            errors = max(errors, float(np.sqrt(np.mean((after - before) ** 2))))
        layers.append(LayerClusters(name, values, errors))
    return Passed(clustered, ClusterReport(tuple(layers)))


def share_values(kernel: NDArray[np.floating], clusters: int) -> NDArray[np.floating]:
    """The kernel with its weights replaced by the centre of their cluster; zeros stay."""
    alive = kernel != 0
    if not alive.any():
        return kernel
    centres, labels = k_means(kernel[alive].astype(np.float64), clusters - (0 if alive.all() else 1))
    shared = np.zeros_like(kernel)
    shared[alive] = centres[labels]
    return shared


def k_means(values: Values, clusters: int) -> tuple[Values, NDArray[np.intp]]:
    """Lloyd's algorithm in one dimension, started from centres at equal distances (Han et al., 2016).

    In one dimension the clusters are intervals, so that sorting once makes each round a search among the
    bounds.

    Args:
        values: shape (n,), n ≥ 1, finite.
        clusters: at least 1.

    Returns:
        The centres, shape (≤ clusters,), ascending, none of them without a value; and the index of each
        value's centre, shape (n,). Deterministic.
    """
    ordered = np.sort(values)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    centres = np.unique(np.linspace(ordered[0], ordered[-1], clusters))
    for _ in range(ROUNDS):
        bounds = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], bounds, [len(ordered)]])
        counts = np.diff(edges)
        filled = counts > 0
        means = np.diff(sums[edges])[filled] / counts[filled]
        if len(means) == len(centres) and np.allclose(means, centres, rtol=0, atol=1e-12):
            break
        centres = np.unique(means)
    return centres, np.searchsorted((centres[1:] + centres[:-1]) / 2, values, side="right")
