"""Rounding weights so that the errors of a layer's weights make up for each other. It costs no byte.

Rounding each weight to the nearest step has the least error in the weights, not in what the layer computes. Here the
weights of an input are rounded one input after the other, and what that does to the layer's output is made up for by
the weights that are still to be rounded: Frantar et al., "GPTQ: Accurate post-training quantization for generative
pre-trained transformers" (ICLR 2023), after Hassibi and Stork's optimal brain surgeon (1993).
"""

from __future__ import annotations

from collections import Counter
from typing import Literal

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite.facts import ModelFacts, OpFacts, describe
from edgeloop_converters.tflite.flatbuffer import as_list, parse, serialize
from edgeloop_converters.tflite.interpreter import Array, Inputs, invoke, open_interpreter, samples_of, set_sample
from edgeloop_converters.tflite.repair import Repaired

__all__ = ["compensate", "round_compensated"]

# Of the mean power of an input: what few samples seem to say of directions that they hardly have isn't believed.
DAMPING = 0.01
STEPS = 127


def compensate(
    model: bytes, calibration: Inputs, *, dense_scales: Literal["channel", "tensor"] = "channel"
) -> Repaired:
    """Round the weights of dense layers and of 1 × 1 convolutions of a float model to 8 bits.

    The weights stay float32, at values which a symmetric quantizer hits exactly. Layers that share their weights, and
    other kinds, are left alone. A model without such layers comes back as it is.

    Args:
        model: a float `.tflite` file.
        calibration: samples `(n, *input_shape[1:])`, float32, or such arrays by input name.
        dense_scales: whether a dense layer's weights will have a scale for each output channel or one for all.

    Raises:
        DataError: the samples don't fit the model.
        ModelError: the model is damaged.
    """
    facts, tree = describe(model), parse(model)
    ops = roundable(facts, tree)
    if not ops:
        return Repaired(model, ())
    for op, power in zip(ops, input_powers(model, facts, ops, calibration), strict=True):
        tensor = tree.subgraphs[0].tensors[op.inputs[1]]
        weights = np.frombuffer(bytes(tree.buffers[tensor.buffer].data), "<f4").reshape(as_list(tensor.shape))
        flat = weights.reshape(as_list(tensor.shape)[0], -1).astype(np.float64)
        one = dense_scales == "tensor" and op.name == "FULLY_CONNECTED"
        rounded = round_compensated(flat, power, per_channel=not one).astype("<f4")
        tree.buffers[tensor.buffer].data = np.frombuffer(rounded.tobytes(), np.uint8)
    return Repaired(
        serialize(tree), (f"rounded {len(ops)} layers' weights so that their errors make up for each other",)
    )


def roundable(facts: ModelFacts, tree: schema.ModelT) -> list[OpFacts]:
    """The layers whose output is a matrix product of their input's last axis and of weights of their own."""
    readers = Counter(t for op in facts.ops for t in op.inputs)
    buffers = Counter(t.buffer for s in tree.subgraphs for t in s.tensors)

    def fits(op: OpFacts) -> bool:
        if op.name not in ("FULLY_CONNECTED", "CONV_2D"):
            return False
        weights = facts.tensors[op.inputs[1]]
        own = readers[op.inputs[1]] == 1 and buffers[tree.subgraphs[0].tensors[op.inputs[1]].buffer] == 1
        options = tree.subgraphs[0].operators[op.index].builtinOptions
        pointwise = op.name == "FULLY_CONNECTED" or (
            weights.shape[1:3] == (1, 1) and options.strideH == options.strideW == 1
        )
        plain = facts.tensors[op.inputs[0]].dtype == weights.dtype == "float32"
        wide = facts.tensors[op.inputs[0]].shape[-1:] == weights.shape[-1:]
        return own and pointwise and plain and wide and weights.constant

    return [op for op in facts.ops if fits(op)]


def input_powers(model: bytes, facts: ModelFacts, ops: list[OpFacts], calibration: Inputs) -> list[Array]:
    """For each layer the second moments of its input over the samples, (inputs, inputs)."""
    interpreter = open_interpreter(model, preserve=True)
    arrays = samples_of(interpreter, calibration)
    widths = [facts.tensors[op.inputs[1]].shape[-1] for op in ops]
    powers = [np.zeros((width, width)) for width in widths]
    for sample in range(len(arrays[0])):
        set_sample(interpreter, arrays, sample)
        invoke(interpreter)
        for i, op in enumerate(ops):
            rows = interpreter.get_tensor(op.inputs[0]).reshape(-1, widths[i]).astype(np.float64)
            powers[i] += rows.T @ rows / (len(rows) * len(arrays[0]))
    return powers


def round_compensated(weights: Array, power: Array, *, per_channel: bool) -> Array:
    """Round a matrix for an input of known second moments.

    The farthest weight of each scale keeps its value, so that a quantizer finds the same scale again.

    Args:
        weights: (outputs, inputs) float64.
        power: (inputs, inputs) second moments of the input.
        per_channel: one scale for each output, or one for all.

    Returns:
        (outputs, inputs) float64, multiples of the scale.
    """
    reach = np.abs(weights).max(axis=1, keepdims=True)
    if not per_channel:
        reach = np.full_like(reach, reach.max())
    scale = np.where(reach > 0, reach, 1.0) / STEPS
    farthest = np.abs(weights) >= reach
    order = np.argsort(-np.diag(power), kind="stable")
    mean = float(np.trace(power)) / len(power)
    damped = power[np.ix_(order, order)] + (DAMPING * mean if mean > 0 else 1.0) * np.eye(len(power))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left, fixed = weights[:, order].copy(), np.where(farthest, weights, np.nan)[:, order]
    rounded = np.zeros_like(left)
    for i in range(left.shape[1]):
        nearest = np.clip(np.rint(left[:, i : i + 1] / scale), -STEPS, STEPS) * scale
        rounded[:, i] = np.where(np.isnan(fixed[:, i]), nearest[:, 0], fixed[:, i])
        off = (left[:, i] - rounded[:, i]) / upper[i, i]
        left[:, i + 1 :] -= np.outer(off, upper[i, i + 1 :])
    result: Array = np.empty_like(rounded)
    result[:, order] = rounded
    return result
