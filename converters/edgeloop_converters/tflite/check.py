"""Was what was asked for really done? The tools say nothing when it wasn't."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import msgspec

from edgeloop_converters.tflite.delegation import Delegation
from edgeloop_converters.tflite.facts import ModelFacts, OpFacts
from edgeloop_converters.tflite.scheme import QuantizationWanted, Scheme

__all__ = ["Finding", "Severity", "check"]

Severity: TypeAlias = Literal["error", "warning", "info"]

# Operators whose second input is the weights; other operators have none to quantize.
WEIGHTED = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "EMBEDDING_LOOKUP"})
SMALL_LAYER = 1024  # TensorFlow's converter: minimum_elements_for_weights
BETWEEN = frozenset({"QUANTIZE", "DEQUANTIZE"})


class Finding(msgspec.Struct, frozen=True):
    """Something about a quantized model that its user should know.

    Attributes:
        code: short, stable name of the kind of finding.
        severity: "error": what was asked for wasn't done; "warning": it was, at a price; "info": worth
            knowing.
        message: what was found.
        cause: why it is so, as far as the file tells.
        remedy: what to do.
        where: the tensors or operators concerned.
    """

    code: str
    severity: Severity
    message: str
    cause: str
    remedy: str
    where: tuple[str, ...] = ()


def check(asked: QuantizationWanted, facts: ModelFacts, delegation: Delegation | None = None) -> tuple[Finding, ...]:
    """Compare a model with what was asked for.

    Args:
        asked: the schemes.
        facts: of the model that came out.
        delegation: of it, where it matters how fast XNNPACK runs it.

    Returns:
        The findings, errors first; empty when all is as asked.
    """
    found = [*weight_findings(asked, facts), *activation_findings(asked, facts)]
    if delegation is not None:
        found += delegation_findings(asked, facts, delegation)
    if facts.custom_ops:
        found.append(
            Finding(
                "custom_ops",
                "warning",
                f"the model has custom operators: {', '.join(facts.custom_ops)}",
                "they aren't part of LiteRT, and quantizers leave them float",
                "register their kernels on the device, or replace them by built-in operators",
                facts.custom_ops,
            )
        )
    order: dict[Severity, int] = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda f: order[f.severity]))


def layer_name(op: OpFacts, facts: ModelFacts) -> str:
    """What an override's pattern is matched with: the names of the outputs, a semicolon after each.

    `litert-quantizer` matches with the same string, so that `name;` doesn't match `name2`.
    """
    return "".join(f"{facts.name(t)};" for t in op.outputs)


def weights_dtype(op: OpFacts, facts: ModelFacts) -> str | None:
    """The dtype that an operator's weights are stored in; None when they aren't constant."""
    producer = {t: o for o in facts.ops for t in o.outputs}
    tensor = op.inputs[0 if op.name == "EMBEDDING_LOOKUP" and facts.tensors[op.inputs[0]].constant else 1]
    while tensor in producer and producer[tensor].name in BETWEEN:
        tensor = producer[tensor].inputs[0]
    return facts.tensors[tensor].dtype if tensor >= 0 and facts.tensors[tensor].constant else None


def elements(op: OpFacts, facts: ModelFacts) -> int:
    """How many weights an operator has."""
    return math.prod(facts.tensors[op.inputs[1]].shape)


def weight_findings(asked: QuantizationWanted, facts: ModelFacts) -> list[Finding]:
    """Findings on the dtype of stored weights."""
    wanted, stored = {}, {}
    for op in facts.ops:
        if op.name in WEIGHTED and len(op.inputs) > 1:
            dtype = weights_dtype(op, facts)
            if dtype is not None:
                wanted[op.index], stored[op.index] = asked.of(layer_name(op, facts)).weights, dtype
    wrong = [i for i in wanted if wanted[i] != stored[i]]
    small = [i for i in wrong if stored[i] == "float32" and elements(facts.ops[i], facts) < SMALL_LAYER]
    if small and not asked.scheme.static and len(small) == len(wrong) < len(wanted):
        return [
            Finding(
                "small_layers_float",
                "info",
                f"{len(small)} of {len(wanted)} layers are float: each has fewer than {SMALL_LAYER} weights",
                "TensorFlow's converter leaves such layers as they are in dynamic-range models",
                "nothing, or quantize() if every byte counts",
                tuple(f"{facts.ops[i].name} {layer_name(facts.ops[i], facts)}" for i in small),
            )
        ]
    if not wrong:
        return []
    where = tuple(f"{facts.ops[i].name} {layer_name(facts.ops[i], facts)}" for i in wrong)
    if facts.deprecated_codes and all(stored[i] == "float32" for i in wrong):
        return [
            Finding(
                "nothing_quantized",
                "error",
                f"nothing was quantized: {len(wrong)} layers still have float32 weights",
                "the operator codes stand in the deprecated field, so the quantizer saw other operators",
                "repair() mends the file; quantize what it gives back",
                where,
            )
        ]
    kinds = sorted({f"{stored[i]} instead of {wanted[i]}" for i in wrong})
    whole = len(wrong) == len(wanted) and all(stored[i] == "float32" for i in wrong)
    # int4 exists for some kernels only; int8 in its place is what the quantizer does then, or it stays float.
    int4 = any(wanted[i] == "int4" for i in wrong)
    return [
        Finding(
            "nothing_quantized" if whole else "weights_dtype",
            "error" if whole or not int4 else "warning",
            f"{len(wrong)} of {len(wanted)} layers have weights of another type: {'; '.join(kinds)}",
            "LiteRT has no kernel with int4 weights for these operators"
            if int4
            else "the quantizer has no rule for these operators in this scheme, or it wasn't applied",
            "ask for int8 there with an override, or keep them as they are"
            if int4
            else "choose another scheme for them",
            where,
        )
    ]


def activation_findings(asked: QuantizationWanted, facts: ModelFacts) -> list[Finding]:
    """Findings on inputs, outputs, float tensors and conversions in a model that was to be integer only."""
    found: list[Finding] = []
    if not asked.scheme.static:
        return found
    ends = {*facts.inputs, *facts.outputs}
    wrong = [facts.tensors[i] for i in sorted(ends) if facts.tensors[i].dtype not in end_dtypes(asked, facts, i)]
    if wrong:
        found.append(
            Finding(
                "float_interface",
                "error",
                f"{len(wrong)} inputs or outputs aren't {asked.scheme.activations}",
                "the converter keeps float inputs and outputs unless told otherwise",
                f"ask for {asked.scheme.activations} inputs and outputs, or quantize with quantize()",
                tuple(f"{t.name}: {t.dtype}" for t in wrong),
            )
        )
    mixed = {t for op in facts.ops if not asked.of(layer_name(op, facts)).static for t in (*op.inputs, *op.outputs)}
    touched = {t for op in facts.ops for t in (*op.inputs, *op.outputs)} - mixed - ends
    floats = [facts.tensors[i] for i in sorted(touched) if i >= 0 and "float" in facts.tensors[i].dtype]
    if floats:
        found.append(
            Finding(
                "float_tensors",
                "error",
                f"{len(floats)} tensors inside are still float: the model isn't integer only",
                "some operators have no integer kernel, or no rule in the quantizer",
                "replace these operators in the model, or ask for them as float with an override",
                tuple(t.name for t in floats),
            )
        )
    if not asked.overrides:
        inner = [op for op in facts.ops if op.name in BETWEEN]
        if inner:
            found.append(
                Finding(
                    "conversions_inside",
                    "error" if floats else "warning",
                    f"{len(inner)} QUANTIZE or DEQUANTIZE operators stand in the graph",
                    "neighbouring operators have different quantization, or one of them stayed float",
                    "look at the tensors on both sides; same-scale operators (concatenate, pad) need none",
                    tuple(f"{op.name} {layer_name(op, facts)}" for op in inner),
                )
            )
    return found


def end_dtypes(asked: QuantizationWanted, facts: ModelFacts, tensor: int) -> set[str]:
    """What an input or output may be: what was asked for the model, or for the layers that read or write it."""
    layers = [op for op in facts.ops if tensor in (*op.inputs, *op.outputs) and op.name not in BETWEEN]
    schemes = (asked.scheme, *(asked.of(layer_name(op, facts)) for op in layers))
    return {scheme.activations or "float32" for scheme in schemes}


def delegation_findings(asked: QuantizationWanted, facts: ModelFacts, delegation: Delegation) -> list[Finding]:
    """Findings on how XNNPACK divides the model."""
    where = tuple(f"{op.name} {layer_name(facts.ops[op.index], facts)}" for op in delegation.outside)
    names = ", ".join(sorted({op.name for op in delegation.outside}))
    if delegation.delegated == 0:
        wide = asked.scheme is Scheme.STATIC_INT16X8
        return [
            Finding(
                "no_delegation",
                "warning",
                f"XNNPACK runs none of the {delegation.nodes} operators",
                "it has no kernels for int16 activations"
                if wide
                else "it has no kernels for these operators and types",
                "static int8 runs in XNNPACK; keep int16 for the layers that need it"
                if wide
                else "measure it against float before you use it",
                where,
            )
        ]
    if delegation.partitions <= 1:
        return []
    dynamic = {Scheme.DYNAMIC_INT8, Scheme.DYNAMIC_INT4}
    depthwise = "DEPTHWISE_CONV_2D" in names and asked.scheme in dynamic
    return [
        Finding(
            "partitions",
            "warning",
            f"{delegation.partitions} delegate partitions instead of 1: LiteRT's own kernels run "
            f"{len(delegation.outside)} of {delegation.nodes} operators ({names})",
            "dynamic-range int8 of DEPTHWISE_CONV_2D falls outside XNNPACK"
            if depthwise
            else "XNNPACK has no kernels for these operators and types",
            "quantize to full integers, or keep the depthwise layers float with an override"
            if depthwise
            else "choose another scheme for these operators, or replace them",
            where,
        )
    ]
