"""MEAN over neighbouring axes, the global pool among them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from edgeloop_converters.to_c.graph import Op
from edgeloop_converters.to_c.multiplier import INT8_MAX, INT8_MIN, Multiplier, quantize_multiplier
from edgeloop_converters.to_c.ops.base import (
    CLAMP,
    SCALE_BY,
    Code,
    Kind,
    Place,
    c_struct,
    constant,
    int8_problems,
)
from edgeloop_converters.to_c.overlap import Leads

__all__ = ["MEAN"]

KERNEL = """\
/* The mean over the middle one of three axes; the multiplier holds the division. */
struct mean {
    int32_t outer, count, inner, multiplier, shift;
    int16_t in_zero, out_zero;
};

static void mean(const struct mean *p, const int8_t *in, int8_t *out)
{
    for (int32_t i = 0; i < p->outer; i++) {
        for (int32_t j = 0; j < p->inner; j++) {
            int32_t sum = -p->in_zero * p->count;
            for (int32_t k = 0; k < p->count; k++) {
                sum += in[(i * p->count + k) * p->inner + j];
            }
            *out++ = clamp(scale_by(sum, p->multiplier, p->shift) + p->out_zero, INT8_MIN, INT8_MAX);
        }
    }
}
"""

LARGEST_COUNT = (2**31 - 1) // (INT8_MAX - INT8_MIN)


def axes(op: Op) -> list[int]:
    """The axes that it takes the mean over, ascending."""
    values = op.input(1).values
    rank = len(op.input(0).shape)
    return sorted({int(a) % rank for a in ([] if values is None else values.reshape(-1))})


def problems(op: Op) -> Iterable[str]:
    """Why it can't be compiled."""
    found = list(int8_problems(op, op.input(0), op.output))
    values, wrong = constant(op, 1, "int32")
    found += wrong
    yield from found
    if found or values is None:
        return
    rank = len(op.input(0).shape)
    if not all(-rank <= int(a) < rank for a in values.reshape(-1)):
        yield f"takes the mean over axes {values.reshape(-1).tolist()} of {op.input(0)}"
        return
    over = axes(op)
    if not over or over != list(range(over[0], over[-1] + 1)):
        yield f"takes the mean over axes {over}, which aren't neighbours"
    elif extents(op)[1] > LARGEST_COUNT:
        yield f"takes the mean of {extents(op)[1]} values, which overflows int32"
    elif extents(op)[1] << max(0, multiplier(op, extents(op)[1]).shift) > LARGEST_COUNT:
        yield "has an output scale that is too small for its input's"


def extents(op: Op) -> tuple[int, int, int]:
    """The elements before, along and after its axes."""
    shape, over = op.input(0).shape, axes(op)
    return math.prod(shape[: over[0]]), math.prod(shape[over[0] : over[-1] + 1]), math.prod(shape[over[-1] + 1 :])


def multiplier(op: Op, count: int) -> Multiplier:
    """TFLite's multiplier with the division in it (`QuantizedMeanOrSum`, truncated as there)."""
    scaling = quantize_multiplier(op.input(0).scale / op.output.scale)
    shift = min(count.bit_length() - 1, 32, 31 + scaling.shift)
    return Multiplier((scaling.value << shift) // count, scaling.shift - shift)


def leads(op: Op) -> Mapping[int, Leads]:
    """In place: column j of a block is read before output j is written, and blocks shrink."""
    return {op.input(0).index: Leads(0)}


def emit(op: Op, place: Place) -> Code:
    """Write it."""
    outer, count, inner = extents(op)
    scaling = multiplier(op, count)
    fields = {
        "outer": outer,
        "count": count,
        "inner": inner,
        "multiplier": scaling.value,
        "shift": scaling.shift,
        "in_zero": op.input(0).zero_point,
        "out_zero": op.output.zero_point,
    }
    call = f"mean(&op{op.index}, {place(op.input(0))}, {place(op.output)});"
    return Code((CLAMP, SCALE_BY, KERNEL), c_struct("mean", f"op{op.index}", fields), call)


MEAN = Kind(problems, leads, emit)
