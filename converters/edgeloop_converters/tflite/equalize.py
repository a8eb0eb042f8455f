"""Cross-layer equalization: the same function, with weights that round better.

Between two layers with a ReLU or nothing in between, a channel may be scaled down in the first and up in the
second without changing what they compute. Chosen so that the weights of all channels reach equally far in
both, one scale for a whole tensor loses less. It costs no byte. Nagel et al., "Data-free quantization through
weight equalization and bias correction" (ICCV 2019), section 4.1.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite.facts import ModelFacts, OpFacts, describe
from edgeloop_converters.tflite.flatbuffer import as_list, parse, serialize
from edgeloop_converters.tflite.interpreter import Array
from edgeloop_converters.tflite.repair import Repaired

__all__ = ["equalize"]

ROUNDS = 20  # pairs share layers, so the factors settle over some rounds; later ones change less than 1 %
LARGEST_FACTOR = 100.0  # a channel that is all but dead shouldn't be blown up
OUTPUT_AXIS = {"FULLY_CONNECTED": 0, "CONV_2D": 0, "DEPTHWISE_CONV_2D": 3}
INPUT_AXIS = {"FULLY_CONNECTED": 1, "CONV_2D": 3, "DEPTHWISE_CONV_2D": 3}
SCALABLE = {schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU}


@dataclass(frozen=True)
class Pair:
    """Two layers of which the second takes the first one's output and nobody else does."""

    first: OpFacts
    second: OpFacts


def equalize(model: bytes) -> Repaired:
    """Equalize the weights of neighbouring layers of a float model.

    The outputs stay the same up to float32's rounding. Models without such neighbours come back as they are.

    Raises:
        ModelError: the model is damaged.
    """
    facts = describe(model)
    tree = parse(model)
    pairs = find_pairs(facts, tree)
    if not pairs:
        return Repaired(model, ())
    used = sorted({t for p in pairs for op in (p.first, p.second) for t in op.inputs[1:] if t >= 0})
    weights = {t: values(tree, t).astype(np.float64) for t in used}
    for _ in range(ROUNDS):
        for pair in pairs:
            scale_pair(pair, weights)
    for tensor, array in weights.items():
        tree.buffers[tree.subgraphs[0].tensors[tensor].buffer].data = np.frombuffer(
            array.astype("<f4").tobytes(), np.uint8
        )
    return Repaired(serialize(tree), (f"equalized the weights of {len(pairs)} pairs of layers",))


def find_pairs(facts: ModelFacts, tree: schema.ModelT) -> list[Pair]:
    """The pairs whose channels may be scaled."""
    main = tree.subgraphs[0]
    readers = Counter(t for op in facts.ops for t in op.inputs)
    buffers = Counter(t.buffer for s in tree.subgraphs for t in s.tensors)

    def free(op: OpFacts) -> bool:
        """Whether an operator's weights are float constants that nothing else reads."""
        return op.name in OUTPUT_AXIS and all(
            facts.tensors[t].constant
            and facts.tensors[t].dtype == "float32"
            and readers[t] == 1
            and buffers[main.tensors[t].buffer] == 1
            for t in op.inputs[1:]
            if t >= 0
        )

    producer = {t: op for op in facts.ops for t in op.outputs}
    pairs = []
    for second in facts.ops:
        first = producer.get(second.inputs[0]) if second.inputs else None
        if first is None or not free(first) or not free(second):
            continue
        between = second.inputs[0]
        options = main.operators[first.index].builtinOptions
        wide = facts.tensors[between].shape[-1:]
        fits = facts.tensors[second.inputs[1]].shape[INPUT_AXIS[second.name]] == (wide[0] if wide else 0)
        alone = readers[between] == 1 and between not in facts.outputs
        if alone and fits and options is not None and options.fusedActivationFunction in SCALABLE:
            pairs.append(Pair(first, second))
    return pairs


def scale_pair(pair: Pair, weights: dict[int, Array]) -> None:
    """Scale the channels between two layers so that both reach equally far; changes `weights`."""
    first, second = weights[pair.first.inputs[1]], weights[pair.second.inputs[1]]
    out_axis, in_axis = OUTPUT_AXIS[pair.first.name], INPUT_AXIS[pair.second.name]
    reach_first, reach_second = reach(first, out_axis), reach(second, in_axis)
    alive = (reach_first > 0) & (reach_second > 0)
    factor = np.ones(len(reach_first))
    factor[alive] = np.sqrt(reach_first[alive] / reach_second[alive])
    factor = np.clip(factor, 1 / LARGEST_FACTOR, LARGEST_FACTOR)
    first /= along(factor, first.ndim, out_axis)
    second *= along(factor, second.ndim, in_axis)
    if len(pair.first.inputs) > 2 and pair.first.inputs[2] >= 0:
        weights[pair.first.inputs[2]] /= factor


def reach(array: Array, axis: int) -> Array:
    """The largest absolute value of each channel."""
    return np.asarray(np.abs(np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)).max(axis=1))


def along(factor: Array, rank: int, axis: int) -> Array:
    """A vector shaped so that it multiplies one axis."""
    shape = [1] * rank
    shape[axis] = -1
    return factor.reshape(shape)


def values(tree: schema.ModelT, index: int) -> Array:
    """A constant float tensor's values."""
    tensor = tree.subgraphs[0].tensors[index]
    return np.frombuffer(bytes(tree.buffers[tensor.buffer].data), "<f4").reshape(as_list(tensor.shape))
