"""ADD and MUL, with broadcasting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

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
    c_array,
    c_struct,
    fused_problems,
)
from edgeloop_converters.to_c.overlap import Leads

__all__ = ["ADD", "MUL"]

DIMENSIONS = 4
LEFT_SHIFT = 20  # of ADD's inputs, before they are scaled

BROADCAST = """\
/* Both inputs over the output's shape; a stride of 0 repeats an input along an axis. */
struct broadcast {
    int32_t shape[4], stride_a[4], stride_b[4];
};

static int32_t walk(const int32_t *stride, const int32_t *at)
{
    return at[0] * stride[0] + at[1] * stride[1] + at[2] * stride[2] + at[3] * stride[3];
}
"""

LOOPS = """\
    int32_t at[4];
    for (at[0] = 0; at[0] < s->shape[0]; at[0]++) {
        for (at[1] = 0; at[1] < s->shape[1]; at[1]++) {
            for (at[2] = 0; at[2] < s->shape[2]; at[2]++) {
                for (at[3] = 0; at[3] < s->shape[3]; at[3]++) {
                    const int32_t x = a[walk(s->stride_a, at)] - p->zero_a;
                    const int32_t y = b[walk(s->stride_b, at)] - p->zero_b;
"""

ADD_KERNEL = (
    """\
/* Both inputs are brought to one scale with 20 more bits, added, and scaled to the output's. */
struct add {
    struct broadcast broadcast;
    int32_t multiplier_a, multiplier_b, multiplier;
    int16_t shift_a, shift_b, shift, zero_a, zero_b, out_zero, low, high;
};

static void add(const struct add *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const struct broadcast *s = &p->broadcast;
"""
    + LOOPS
    + """\
                    const int32_t sum = scale_by(x * 1048576, p->multiplier_a, p->shift_a)
                                        + scale_by(y * 1048576, p->multiplier_b, p->shift_b);
                    *out++ = clamp(scale_by(sum, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
                }
            }
        }
    }
}
"""
)

MUL_KERNEL = (
    """\
struct mul {
    struct broadcast broadcast;
    int32_t multiplier;
    int16_t shift, zero_a, zero_b, out_zero, low, high;
};

static void mul(const struct mul *p, const int8_t *a, const int8_t *b, int8_t *out)
{
    const struct broadcast *s = &p->broadcast;
"""
    + LOOPS
    + """\
                    *out++ = clamp(scale_by(x * y, p->multiplier, p->shift) + p->out_zero, p->low, p->high);
                }
            }
        }
    }
}
"""
)


def collapsed(op: Op) -> tuple[list[int], list[list[int]]]:
    """The output's shape and both inputs' strides, neighbouring axes joined where both inputs go on evenly."""
    full = op.output.shape
    strides = [broadcast_strides(op.input(i), full) for i in (0, 1)]
    axes = [(size, *(s[axis] for s in strides)) for axis, size in enumerate(full) if size != 1]
    joined: list[tuple[int, ...]] = []
    for size, *steps in axes:
        if joined and all(before == step * size for before, step in zip(joined[-1][1:], steps, strict=True)):
            joined[-1] = (joined[-1][0] * size, *steps)
        else:
            joined.append((size, *steps))
    padded = [(1, 0, 0)] * (DIMENSIONS - len(joined)) + joined
    return [axis[0] for axis in padded], [[axis[i] for axis in padded] for i in (1, 2)]


def broadcast_strides(tensor: Tensor, full: tuple[int, ...]) -> list[int]:
    """A tensor's strides in elements over a larger shape; 0 where it is repeated."""
    shape = (1,) * (len(full) - len(tensor.shape)) + tensor.shape
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step if size > 1 else 0)
        step *= size
    return strides[::-1]


def problems(op: Op, *, adds: bool) -> Iterable[str]:
    """Why it can't be compiled."""
    found = [*activation_problems(op), *fused_problems(op.options.fusedActivationFunction)]
    yield from found
    if found:
        return
    try:
        made = np.broadcast_shapes(op.input(0).shape, op.input(1).shape)
    except ValueError:
        made = ()
    if made != op.output.shape:
        yield f"makes {op.output} of {op.input(0)} and {op.input(1)}"
    elif len(collapsed(op)[0]) > DIMENSIONS:
        yield f"broadcasts over more than {DIMENSIONS} axes"
    elif adds and max(m.shift for m in add_multipliers(op)) > 0:
        yield "has an output scale that TFLite's ADD refuses: too small for its inputs'"
    elif not adds and mul_multiplier(op).shift > 14:  # 2^16 · 2^14 is the most that int32 holds
        yield "has an output scale that is too small for its inputs'"


def add_multipliers(op: Op) -> list[Any]:
    """TFLite's multipliers for both inputs and the output."""
    a, b, out = op.input(0).scale, op.input(1).scale, op.output.scale
    twice = 2 * max(a, b)
    return [quantize_multiplier(real) for real in (a / twice, b / twice, twice / ((1 << LEFT_SHIFT) * out))]


def mul_multiplier(op: Op) -> Any:
    """TFLite's multiplier for the product, its scale computed in float32."""
    a, b, out = (np.float32(t.scale) for t in (op.input(0), op.input(1), op.output))
    return quantize_multiplier(float(a * b / out))


def leads(op: Op) -> Mapping[int, Leads]:
    """In place over an input of the output's shape."""
    return {t.index: Leads(0) for t in op.inputs if t is not None and t.shape == op.output.shape}


def shared_fields(op: Op) -> dict[str, Any]:
    """What both structs hold."""
    shape, strides = collapsed(op)
    low, high = activation_range(op.output, op.options.fusedActivationFunction)
    rows = (", ".join(map(str, row)) for row in (shape, *strides))
    return {
        "broadcast": "{" + ", ".join(f"{{{row}}}" for row in rows) + "}",
        "zero_a": op.input(0).zero_point,
        "zero_b": op.input(1).zero_point,
        "out_zero": op.output.zero_point,
        "low": low,
        "high": high,
    }


def emit_add(op: Op, place: Place) -> Code:
    """Write an ADD."""
    a, b, out = add_multipliers(op)
    fields = {
        **shared_fields(op),
        "multiplier_a": a.value,
        "multiplier_b": b.value,
        "multiplier": out.value,
        "shift_a": a.shift,
        "shift_b": b.shift,
        "shift": out.shift,
    }
    return finish(op, place, "add", fields, ADD_KERNEL)


def emit_mul(op: Op, place: Place) -> Code:
    """Write a MUL."""
    scaling = mul_multiplier(op)
    fields = {**shared_fields(op), "multiplier": scaling.value, "shift": scaling.shift}
    return finish(op, place, "mul", fields, MUL_KERNEL)


def finish(op: Op, place: Place, function: str, fields: Mapping[str, Any], kernel: str) -> Code:
    """Write the struct, the constant operands and the call."""
    name = f"op{op.index}"
    data, pointers = "", []
    for position in (0, 1):
        tensor = op.input(position)
        if tensor.values is not None:
            data += c_array("int8_t", f"{name}_operand{position}", tensor.values)
            pointers.append(f"{name}_operand{position}")
        else:
            pointers.append(place(tensor))
    call = f"{function}(&{name}, {pointers[0]}, {pointers[1]}, {place(op.output)});"
    return Code((CLAMP, SCALE_BY, BROADCAST, kernel), data + c_struct(function, name, fields), call)


ADD = Kind(lambda op: problems(op, adds=True), leads, emit_add)
MUL = Kind(lambda op: problems(op, adds=False), leads, emit_mul)
