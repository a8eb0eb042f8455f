"""RESHAPE, PAD and CONCATENATION: elements move, and stay what they are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from edgeloop_converters.to_c.graph import Array, Op
from edgeloop_converters.to_c.ops.base import (
    Code,
    Kind,
    Place,
    activation_problems,
    c_struct,
    constant,
    fused_problems,
    int8_problems,
    no_leads,
)
from edgeloop_converters.to_c.overlap import NEVER, Leads, lead_of_elements

__all__ = ["CONCATENATION", "PAD", "RESHAPE"]

DIMENSIONS = 4

PAD_KERNEL = """\
struct pad {
    int32_t in[4], out[4], before[4];
    int8_t value;
};

static void pad(const struct pad *p, const int8_t *in, int8_t *out)
{
    for (int32_t a = 0; a < p->out[0]; a++) {
        for (int32_t b = 0; b < p->out[1]; b++) {
            for (int32_t c = 0; c < p->out[2]; c++) {
                const int32_t i = a - p->before[0], j = b - p->before[1], k = c - p->before[2];
                const int inside = i >= 0 && i < p->in[0] && j >= 0 && j < p->in[1] && k >= 0 && k < p->in[2];
                for (int32_t d = 0; d < p->out[3]; d++) {
                    const int32_t m = d - p->before[3];
                    if (inside && m >= 0 && m < p->in[3]) {
                        *out++ = in[((i * p->in[1] + j) * p->in[2] + k) * p->in[3] + m];
                    } else {
                        *out++ = p->value;
                    }
                }
            }
        }
    }
}
"""

CONCATENATE_KERNEL = """\
/* One input of a concatenation: `rows` pieces of `piece` bytes, `step` bytes apart in the output. */
static void concatenate(int32_t rows, int32_t piece, int32_t step, const int8_t *in, int8_t *out)
{
    for (int32_t i = 0; i < rows; i++) {
        memcpy(out + i * step, in + i * piece, (size_t)piece);
    }
}
"""


def reshape_problems(op: Op) -> Iterable[str]:
    """Why a RESHAPE can't be compiled."""
    yield from int8_problems(op, op.input(0), op.output)
    if op.input(0).elements != op.output.elements:
        yield f"makes {op.output} of {op.input(0)}"


def emit_reshape(op: Op, place: Place) -> Code:
    """Write a RESHAPE: nothing where the plan put both at one address."""
    source, target = place(op.input(0)), place(op.output)
    call = f"memmove({target}, {source}, {op.output.size_bytes});" if source != target else "/* in place */"
    return Code((), "", call)


def paddings(op: Op) -> Array:
    """What is padded before and after each axis, `(4, 2)`."""
    values = op.input(1).values
    if values is None:
        raise LookupError(f"{op} has no constant paddings")
    return np.concatenate([np.zeros((DIMENSIONS - len(values), 2), np.int64), values.astype(np.int64)])


def pad_problems(op: Op) -> Iterable[str]:
    """Why a PAD can't be compiled."""
    found = list(int8_problems(op, op.input(0), op.output))
    kind = op.input(1).dtype
    values, wrong = constant(op, 1, kind if kind in ("int32", "int64") else "int32")
    found += wrong
    yield from found
    if found or values is None:
        return
    shape = op.input(0).shape
    if len(shape) > DIMENSIONS:
        yield f"has {len(shape)} dimensions, more than {DIMENSIONS}"
    elif values.shape != (len(shape), 2) or values.min(initial=0) < 0:
        yield f"pads {op.input(0)} by {values.tolist()}"
    elif tuple(np.add(shape, values.sum(axis=1))) != op.output.shape:
        yield f"makes {op.output} of {op.input(0)}"


def full_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape with leading ones, four dimensions."""
    return (1,) * (DIMENSIONS - len(shape)) + shape


def pad_leads(op: Op) -> Mapping[int, Leads]:
    """The output grows over the input from below."""
    source = np.arange(op.input(0).elements).reshape(full_shape(op.input(0).shape))
    return {op.input(0).index: Leads(lead_of_elements(np.pad(source, paddings(op), constant_values=NEVER)))}


def emit_pad(op: Op, place: Place) -> Code:
    """Write a PAD with the output's zero point."""
    rows = (full_shape(op.input(0).shape), full_shape(op.output.shape), paddings(op)[:, 0].tolist())
    fields: dict[str, object] = {
        name: "{" + ", ".join(map(str, row)) + "}" for name, row in zip(("in", "out", "before"), rows, strict=True)
    }
    fields["value"] = op.output.zero_point
    call = f"pad(&op{op.index}, {place(op.input(0))}, {place(op.output)});"
    return Code((PAD_KERNEL,), c_struct("pad", f"op{op.index}", fields), call)


def concatenation_problems(op: Op) -> Iterable[str]:
    """Why a CONCATENATION can't be compiled."""
    found = [*activation_problems(op), *fused_problems(op.options.fusedActivationFunction)]
    yield from found
    if found:
        return
    rank, out = len(op.output.shape), op.output
    axis = op.options.axis % rank if rank else 0
    parts = [t for t in op.inputs if t is not None]
    if op.options.fusedActivationFunction != 0:
        yield "has a fused activation, which TFLite's CONCATENATION refuses"
    if any(t.values is not None for t in parts):
        yield "has a constant input"
    if any(t.scale != out.scale or t.zero_point != out.zero_point for t in parts):
        yield "has inputs of another scale than its output's, which TFLite's reference kernel refuses"
    if any(len(t.shape) != rank or others(t.shape, axis) != others(out.shape, axis) for t in parts) or (
        rank and sum(t.shape[axis] for t in parts) != out.shape[axis]
    ):
        yield f"makes {out} of {', '.join(map(str, parts))}"


def others(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    """A shape without one axis."""
    return shape[:axis] + shape[axis + 1 :]


def emit_concatenation(op: Op, place: Place) -> Code:
    """Write a CONCATENATION, one call for each input."""
    shape = op.output.shape
    axis = op.options.axis % len(shape)
    inner = math.prod(shape[axis + 1 :])
    rows, step, start = math.prod(shape[:axis]), shape[axis] * inner, 0
    calls = []
    for tensor in op.inputs:
        if tensor is not None:
            piece = tensor.shape[axis] * inner
            calls.append(f"concatenate({rows}, {piece}, {step}, {place(tensor)}, {place(op.output)} + {start});")
            start += piece
    return Code((CONCATENATE_KERNEL,), "", "\n    ".join(calls))


RESHAPE = Kind(reshape_problems, lambda op: {op.input(0).index: Leads(0)}, emit_reshape)
PAD = Kind(pad_problems, pad_leads, emit_pad)
CONCATENATION = Kind(concatenation_problems, no_leads, emit_concatenation)
