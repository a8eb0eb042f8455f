"""RELU and RELU6 that stand alone, QUANTIZE and DEQUANTIZE."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgeloop_converters.to_c.graph import Op, Tensor
from edgeloop_converters.to_c.multiplier import activation_range, quantize_multiplier
from edgeloop_converters.to_c.ops.base import (
    CLAMP,
    SCALE_BY,
    Code,
    Kind,
    Place,
    activation_problems,
    int8_problems,
    no_leads,
)
from edgeloop_converters.to_c.overlap import Leads

__all__ = ["DEQUANTIZE", "QUANTIZE", "RELU", "RELU6"]

RELU_CODE, RELU6_CODE = 1, 3  # the schema's fused activations of the same limits

REQUANTIZE_KERNEL = """\
struct requantize {
    int32_t count, multiplier;
    int16_t shift, in_zero, out_zero, low, high;
};

static void requantize(const struct requantize *p, const int8_t *in, int8_t *out)
{
    for (int32_t i = 0; i < p->count; i++) {
        out[i] = clamp(scale_by(in[i] - p->in_zero, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
    }
}
"""

QUANTIZE_KERNEL = """\
/* value / scale + zero, rounded half away from zero and saturated. */
static void quantize(int32_t count, float scale, int32_t zero, const float *in, int8_t *out)
{
    for (int32_t i = 0; i < count; i++) {
        const float steps = in[i] / scale;
        const float bounded = steps > -512.0f ? (steps < 512.0f ? steps : 512.0f) : -512.0f;
        const int32_t whole = (int32_t)bounded;
        const float rest = bounded - (float)whole;
        out[i] = clamp(whole + (rest >= 0.5f) - (rest <= -0.5f) + zero, INT8_MIN, INT8_MAX);
    }
}
"""

DEQUANTIZE_KERNEL = """\
static void dequantize(int32_t count, float scale, int32_t zero, const int8_t *in, float *out)
{
    for (int32_t i = 0; i < count; i++) {
        out[i] = scale * (float)(in[i] - zero);
    }
}
"""


def relu_scale(op: Op) -> float:
    """The scale of a RELU, divided in float32 as TFLite does."""
    return float(np.float32(op.input(0).scale) / np.float32(op.output.scale))


def int8_scale(op: Op) -> float:
    """The scale from int8 to int8, divided in double precision."""
    return op.input(0).scale / op.output.scale


def requantize_problems(op: Op, scale: float) -> Iterable[str]:
    """Why int8 can't become int8 of another scale."""
    if quantize_multiplier(scale).shift > 22:  # 2^8 · 2^22 is the most that int32 holds
        yield "has an output scale that is too small for its input's"
    if op.input(0).elements != op.output.elements:
        yield f"makes {op.output} of {op.input(0)}"


def relu_problems(op: Op) -> Iterable[str]:
    """Why a RELU can't be compiled."""
    yield from list(activation_problems(op)) or requantize_problems(op, relu_scale(op))


def quantize_problems(op: Op) -> Iterable[str]:
    """Why a QUANTIZE can't be compiled."""
    found = list(int8_problems(op, op.output))
    if op.input(0).dtype == "float32":
        yield from found
        return
    yield from [*int8_problems(op, op.input(0)), *found] or requantize_problems(op, int8_scale(op))


def dequantize_problems(op: Op) -> Iterable[str]:
    """Why a DEQUANTIZE can't be compiled."""
    yield from int8_problems(op, op.input(0))
    if op.output.dtype != "float32":
        yield f"makes {op.output.dtype}, not float32"


def emit_requantize(op: Op, place: Place, scale: float, limits: tuple[int, int]) -> Code:
    """Write the way from int8 to int8."""
    name, scaling = f"op{op.index}", quantize_multiplier(scale)
    source, target = op.input(0), op.output
    numbers = (target.elements, scaling.value, scaling.shift, source.zero_point, target.zero_point, *limits)
    data = f"static const struct requantize {name} = {{{', '.join(map(str, numbers))}}};\n"
    call = f"requantize(&{name}, {place(source)}, {place(target)});"
    return Code((CLAMP, SCALE_BY, REQUANTIZE_KERNEL), data, call)


def emit_relu(op: Op, place: Place, activation: int) -> Code:
    """Write a RELU or RELU6."""
    return emit_requantize(op, place, relu_scale(op), activation_range(op.output, activation))


def arguments(op: Op, place: Place, quantized: Tensor) -> str:
    """The arguments of both ways between int8 and float."""
    scale = np.format_float_scientific(np.float32(quantized.scale), unique=True)
    return f"{quantized.elements}, {scale}f, {quantized.zero_point}, {place(op.input(0))}, {place(op.output)}"


def emit_quantize(op: Op, place: Place) -> Code:
    """Write a QUANTIZE of floats, or of int8 to another scale."""
    if op.input(0).dtype == "int8":
        return emit_requantize(op, place, int8_scale(op), activation_range(op.output, 0))
    return Code((CLAMP, QUANTIZE_KERNEL), "", f"quantize({arguments(op, place, op.output)});")


def emit_dequantize(op: Op, place: Place) -> Code:
    """Write a DEQUANTIZE."""
    return Code((DEQUANTIZE_KERNEL,), "", f"dequantize({arguments(op, place, op.input(0))});")


def leads(op: Op) -> Mapping[int, Leads]:
    """Element by element in place, where both are int8."""
    return {op.input(0).index: Leads(0)} if op.input(0).dtype == op.output.dtype else no_leads(op)


RELU = Kind(relu_problems, leads, lambda op, place: emit_relu(op, place, RELU_CODE))
RELU6 = Kind(relu_problems, leads, lambda op, place: emit_relu(op, place, RELU6_CODE))
QUANTIZE = Kind(quantize_problems, leads, emit_quantize)
DEQUANTIZE = Kind(dequantize_problems, no_leads, emit_dequantize)
