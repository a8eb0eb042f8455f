"""Which operator of a quantized model does what an operator of the float model does.

Converters rename tensors (`a;b;c1`, `x_quantized`, `Identity`) and put QUANTIZE and DEQUANTIZE in between, so
names alone don't do: equal names first, then the order of operators with the same shapes, then similar names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher

from edgeloop_converters.tflite.facts import ModelFacts, OpFacts

__all__ = ["Matching", "match"]

CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE"})
SIMILAR = 0.5  # the share of common parts from which two names mean the same layer


@dataclass(frozen=True)
class Matching:
    """The operators of two models that correspond.

    Attributes:
        ops: index in the float model → index in the quantized model.
        tensors: tensor in the quantized model → tensor in the float model, activations only, those behind
            QUANTIZE and DEQUANTIZE among them.
        unmatched: names of layers, of either model, that have no counterpart.
    """

    ops: dict[int, int]
    tensors: dict[int, int]
    unmatched: tuple[str, ...]


def match(real: ModelFacts, quantized: ModelFacts) -> Matching:
    """Match the operators of a float model with those of the model that was quantized from it."""
    ours = [op for op in real.ops if op.name not in CONVERSIONS]
    theirs = [op for op in quantized.ops if op.name not in CONVERSIONS]
    pairs: dict[int, int] = {}
    for step in (same_name, same_order, similar_name):
        left = [op for op in ours if op.index not in pairs]
        right = [op for op in theirs if op.index not in pairs.values()]
        pairs.update(step(left, right, real, quantized))
    tensors = dict(zip(quantized.inputs, real.inputs, strict=False))
    for op in quantized.ops:
        partner = next((mine for mine, other in pairs.items() if other == op.index), None)
        if partner is not None:
            tensors.update(zip(op.outputs, real.ops[partner].outputs, strict=False))
        elif op.name in CONVERSIONS and op.inputs[0] in tensors:
            tensors[op.outputs[0]] = tensors[op.inputs[0]]
    lonely = [f"float: {label(op, real)}" for op in ours if op.index not in pairs]
    lonely += [f"quantized: {label(op, quantized)}" for op in theirs if op.index not in pairs.values()]
    return Matching(pairs, tensors, tuple(lonely))


def label(op: OpFacts, facts: ModelFacts) -> str:
    """An operator by its kind and its first output."""
    return f"{op.name} {facts.name(op.outputs[0])}" if op.outputs else op.name


def shapes(op: OpFacts, facts: ModelFacts) -> tuple[tuple[int, ...], ...]:
    """The shapes of what an operator gives out."""
    return tuple(facts.tensors[t].shape for t in op.outputs)


def same_name(
    ours: Iterable[OpFacts], theirs: Iterable[OpFacts], real: ModelFacts, quantized: ModelFacts
) -> dict[int, int]:
    """Operators of one kind whose first outputs have the same name and shape."""
    named = {(label(op, quantized), shapes(op, quantized)): op.index for op in theirs}
    found = {op.index: named.get((label(op, real), shapes(op, real))) for op in ours}
    return {mine: other for mine, other in found.items() if other is not None}


def same_order(ours: list[OpFacts], theirs: list[OpFacts], real: ModelFacts, quantized: ModelFacts) -> dict[int, int]:
    """Operators at the same place of the longest common sequences of kinds and shapes."""
    left = [(op.name, shapes(op, real)) for op in ours]
    right = [(op.name, shapes(op, quantized)) for op in theirs]
    blocks = SequenceMatcher(None, left, right, autojunk=False).get_matching_blocks()
    return {ours[b.a + k].index: theirs[b.b + k].index for b in blocks for k in range(b.size)}


def similar_name(ours: list[OpFacts], theirs: list[OpFacts], real: ModelFacts, quantized: ModelFacts) -> dict[int, int]:
    """Operators with outputs of the same shapes, of whose names at least half of the parts are common."""
    found: dict[int, int] = {}
    for op in ours:
        mine = parts(real.name(op.outputs[0])) if op.outputs else frozenset()
        scores = [
            (len(mine & other) / max(len(mine | other), 1), candidate.index)
            for candidate in theirs
            if candidate.outputs
            and candidate.index not in found.values()
            and shapes(candidate, quantized) == shapes(op, real)
            for other in [parts(quantized.name(candidate.outputs[0]))]
        ]
        best = max(scores, default=(0.0, -1))
        if best[0] >= SIMILAR:
            found[op.index] = best[1]
    return found


def parts(name: str) -> frozenset[str]:
    """The parts of a fused name, without the suffixes that converters append."""
    cleaned = (re.sub(r"(_quantized|_dequant|:\d+|\d+)+$", "", part) for part in name.split(";"))
    return frozenset(part for part in cleaned if part)
