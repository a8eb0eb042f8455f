"""Structured channel pruning: rebuild a model with fewer channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError
from edgeloop_converters.passes.channels import MAKERS, Channels, Labels, kind_of, trace_channels
from edgeloop_converters.passes.checks import check_at_least, check_fraction
from edgeloop_converters.passes.graph import Part, flatten, rebuild
from edgeloop_converters.passes.importance import importances
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.slicing import axes_of, slice_layer

if TYPE_CHECKING:
    import keras

__all__ = ["LayerChannels", "ProtectedGroup", "PruneReport", "prune_channels"]


@dataclass(frozen=True)
class LayerChannels:
    """How many channels a layer made before pruning and makes after it."""

    layer: str
    before: int
    after: int


@dataclass(frozen=True)
class ProtectedGroup:
    """Layers whose channels (some of them or all) were not up for removal, and why."""

    layers: tuple[str, ...]
    channels: int
    reason: str


@dataclass(frozen=True)
class PruneReport:
    """What `prune_channels` did.

    Args:
        layers: each layer that makes channels, in topological order.
        params_before: the number of weights of the model passed in.
        params_after: the number of weights of the pruned model.
        protected: the groups of layers that kept channels for a reason of structure.
    """

    layers: tuple[LayerChannels, ...]
    params_before: int
    params_after: int
    protected: tuple[ProtectedGroup, ...]


@dataclass(frozen=True)
class Group:
    """Layers whose channels are coupled, and the removable units among those channels.

    Args:
        layers: the names of the layers that make the channels.
        units: labels of the units that may be removed, shape (units,), int64.
        bound: how many units must stay for each reason of structure.
    """

    layers: tuple[str, ...]
    units: Labels
    bound: Mapping[str, int]


def prune_channels(
    model: keras.Model,
    *,
    ratio: float | Mapping[str, float],
    round_to: int = 4,
    min_channels: int = 4,
) -> Passed[PruneReport]:
    """Remove the least important channels and rebuild the model without them.

    Channels that a residual sum, a depthwise convolution or another layer couples leave together. The
    importance of one is the L1 norm of its weights (Li et al., "Pruning filters for efficient ConvNets",
    ICLR 2017), summed over all layers of the group (Fang et al., "DepGraph: Towards any structural
    pruning", CVPR 2023). The model's inputs and outputs keep their shapes. A layer whose use of channels
    isn't known protects the channels around it: the report says which.

    Args:
        model: a built functional or Sequential model.
        ratio: the share of channels to remove, in [0, 1): one for all groups, or by the name of a layer,
            which then stands for its whole group (groups without one are left alone).
        round_to: the channels that stay in a group are rounded up to a multiple of this, which kernels
            prefer.
        min_channels: at least so many channels stay in a group.

    Raises:
        ConfigError: a ratio out of range, or for a layer that can't be pruned; two ratios for one group.
        ModelError: the model's graph can't be read, or a layer can't be copied.
    """
    check_at_least("round_to", round_to, 1)
    check_at_least("min_channels", min_channels, 1)
    flat = flatten(model)
    channels = trace_channels(flat)
    groups = coupled_groups(channels)
    ratios = ratios_of(groups, ratio)
    scores = importances(channels)
    removed: set[int] = set()
    for group, share in zip(groups, ratios, strict=True):
        removed |= least_important(group, share, scores, round_to, min_channels)
    pruned = rebuild(flat, cut(channels, np.asarray(sorted(removed), dtype=np.int64)))
    return Passed(pruned, report_of(channels, groups, flat, pruned))


def makers(channels: Channels) -> dict[str, Labels]:
    """The labels that each layer makes, by its name, in topological order."""
    return {
        call.layer.name: channels.of(call.outputs[0])
        for call in channels.calls
        if kind_of(call.layer) in MAKERS and len(call.outputs) == 1
    }


def coupled_groups(channels: Channels) -> tuple[Group, ...]:
    """The groups of layers that share a label, in topological order."""
    made = makers(channels)
    homes: dict[int, set[str]] = {}
    merged: dict[str, set[str]] = {name: {name} for name in made}
    for name, labels in made.items():
        for label in labels.tolist():
            homes.setdefault(label, set()).add(name)
    for names in homes.values():
        joined = set().union(*(merged[name] for name in names))
        for name in joined:
            merged[name] = joined
    groups = []
    for names in {id(names): names for names in merged.values()}.values():
        ordered = tuple(name for name in made if name in names)
        every = np.unique(np.concatenate([made[name] for name in ordered]))
        reasons = [channels.protected[label] for label in every.tolist() if label in channels.protected]
        units = np.asarray([label for label in every.tolist() if label not in channels.protected], dtype=np.int64)
        groups.append(Group(ordered, units, {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}))
    return tuple(groups)


def ratios_of(groups: tuple[Group, ...], ratio: float | Mapping[str, float]) -> list[float]:
    """The share to remove from each group; raises `ConfigError`."""
    if not isinstance(ratio, Mapping):
        check_fraction("ratio", ratio)
        return [float(ratio)] * len(groups)
    prunable = [name for group in groups if len(group.units) for name in group.layers]
    for name, share in ratio.items():
        check_fraction(f"the ratio of layer {name!r}", share)
        if name not in prunable:
            raise ConfigError(f"layer {name!r} has no channels that can be pruned: choose among {prunable}")
    found = []
    for group in groups:
        shares = {name: ratio[name] for name in group.layers if name in ratio}
        if len(set(shares.values())) > 1:
            raise ConfigError(f"layers {sorted(shares)} share their channels: give them one ratio, not {shares}")
        found.append(float(next(iter(shares.values()), 0.0)))
    return found


def least_important(
    group: Group, share: float, scores: Mapping[int, float], round_to: int, min_channels: int
) -> set[int]:
    """The labels to remove from a group; ties go to the later channel, so that results are deterministic."""
    total = len(group.units)
    wanted = max(math.ceil(total * (1 - share) - 1e-9), min_channels)
    keep = min(total, math.ceil(wanted / round_to) * round_to)
    order = sorted(group.units.tolist(), key=lambda label: (-scores[label], label))
    return set(order[keep:])


def cut(channels: Channels, removed: Labels) -> dict[str, tuple[Part]]:
    """The smaller layers, by name, of all that touch a removed channel."""
    smaller: dict[str, tuple[Part]] = {}

    def kept(tensor: Any) -> NDArray[np.bool_]:
        return ~np.isin(channels.of(tensor), removed)

    for call in channels.calls:
        if call.layer.name in smaller or not (axes_of(call.layer) or kind_of(call.layer) == "Reshape"):
            continue
        keep_in, keep_out = kept(call.inputs[0]), kept(call.outputs[0])
        if not (keep_in.all() and keep_out.all()):
            smaller[call.layer.name] = (slice_layer(call.layer, keep_in, keep_out, call.outputs[0].shape),)
    return smaller


def report_of(channels: Channels, groups: tuple[Group, ...], before: keras.Model, after: keras.Model) -> PruneReport:
    """Compare the two models."""
    sizes = {layer.name: layer.output.shape[-1] for layer in after.layers if kind_of(layer) in MAKERS}
    layers = tuple(LayerChannels(name, len(labels), int(sizes[name])) for name, labels in makers(channels).items())
    protected = tuple(
        ProtectedGroup(group.layers, count, reason) for group in groups for reason, count in group.bound.items()
    )
    return PruneReport(layers, before.count_params(), after.count_params(), protected)
