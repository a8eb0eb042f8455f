"""Compression passes on Keras 3 models.

Each takes a built functional or Sequential model, leaves it as it was, and returns `Passed(model, report)`:
a new model with the same inputs and outputs, and what was done. They compose in any sensible order, for
example::

    pruned = prune_channels(model, ratio=0.4).model
    taught = distil(pruned, model, x, epochs=10, seed=0).model
    ready = quantization_aware(taught, x, y, epochs=2, seed=0).model
"""

from edgeloop_converters.passes.cluster import ClusterReport, LayerClusters, cluster_weights
from edgeloop_converters.passes.correct_bias import BiasReport, LayerShift, correct_bias
from edgeloop_converters.passes.distil import distil
from edgeloop_converters.passes.equalize import EqualizeReport, equalize
from edgeloop_converters.passes.factorize import FactorReport, LayerRank, factorize
from edgeloop_converters.passes.fold import FoldReport, LayerReason, fold_batch_norm
from edgeloop_converters.passes.passed import Passed
from edgeloop_converters.passes.prune import LayerChannels, ProtectedGroup, PruneReport, prune_channels
from edgeloop_converters.passes.qat import quantization_aware
from edgeloop_converters.passes.sparsify import LayerSparsity, SparsityReport, sparsify
from edgeloop_converters.passes.training import TrainReport
from edgeloop_converters.passes.tune import fine_tune

__all__ = [
    "BiasReport",
    "ClusterReport",
    "EqualizeReport",
    "FactorReport",
    "FoldReport",
    "LayerChannels",
    "LayerClusters",
    "LayerRank",
    "LayerReason",
    "LayerShift",
    "LayerSparsity",
    "Passed",
    "ProtectedGroup",
    "PruneReport",
    "SparsityReport",
    "TrainReport",
    "cluster_weights",
    "correct_bias",
    "distil",
    "equalize",
    "factorize",
    "fine_tune",
    "fold_batch_norm",
    "prune_channels",
    "quantization_aware",
    "sparsify",
]
