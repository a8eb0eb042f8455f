"""How much each coupled channel matters."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop_converters.passes.channels import DEPTHWISE, MAKERS, Channels, kind_of

__all__ = ["importances"]

Norms = NDArray[np.float64]


def importances(channels: Channels) -> dict[int, float]:
    """The importance of each label: the L1 norms of all layers that make, filter or normalize its channel.

    Each layer's norms are divided by their mean first, so that a layer with large weights doesn't decide
    alone for the whole group. A channel whose weights, biases, scales and shifts are all zero has
    importance zero. Sources: Li et al., "Pruning filters for efficient ConvNets" (ICLR 2017), for the norm;
    Fang et al., "DepGraph" (CVPR 2023), for the sum over the group.
    """
    sums: defaultdict[int, float] = defaultdict(float)
    seen: set[str] = set()
    for call in channels.calls:
        norms = None if call.layer.name in seen else channel_norms(call.layer)
        if norms is None:
            continue
        seen.add(call.layer.name)
        relative = norms / max(float(norms.mean()), np.finfo(np.float64).tiny)
        for label, norm in zip(channels.of(call.outputs[0]).tolist(), relative.tolist(), strict=True):
            sums[label] += norm
    return dict(sums)


def channel_norms(layer: Any) -> Norms | None:
    """The L1 norm of the weights behind each leaving channel, shape (channels,); None without weights."""
    kind = kind_of(layer)
    if kind == "BatchNormalization":
        trained = [np.abs(np.asarray(weight)) for weight in (layer.gamma, layer.beta) if weight is not None]
        return np.asarray(sum(trained), dtype=np.float64) if trained else None
    if kind not in MAKERS and kind not in DEPTHWISE:
        return None
    kernel = np.abs(np.asarray(layer.pointwise_kernel if kind.startswith("Separable") else layer.kernel))
    if kind in DEPTHWISE:
        kernel = kernel.reshape(*kernel.shape[:-2], -1)
    if kind == "Conv2DTranspose":
        kernel = np.swapaxes(kernel, -1, -2)
    norms = kernel.reshape(-1, kernel.shape[-1]).sum(axis=0, dtype=np.float64)
    return np.asarray(norms + np.abs(np.asarray(layer.bias)) if layer.use_bias else norms)
