"""FULLY_CONNECTED: TFLite's reference kernel, which scales in double precision and rounds half away from zero."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from edgeloop_converters.to_c.graph import Array, Op
from edgeloop_converters.to_c.multiplier import Multiplier, activation_range, exact_multiplier
from edgeloop_converters.to_c.ops.base import (
    CLAMP,
    Code,
    Kind,
    Place,
    c_array,
    c_struct,
    constant,
    fused_problems,
    int8_problems,
)
from edgeloop_converters.to_c.ops.bounds import accumulator_problems, largest_accumulators
from edgeloop_converters.to_c.overlap import Leads, Window, lead_of_pixels

__all__ = ["FULLY_CONNECTED"]

PIXEL = Window(size=1, made=1, taps=1, stride=1, dilation=1, before=0)

SCALE_EXACTLY = """\
/* value * multiplier / 2^shift, rounded half away from zero. The multiplier was chosen so that this is what TFLite's
   reference kernel computes in double precision, for every value that can occur. */
static int32_t scale_exactly(int32_t value, int32_t multiplier, int shift)
{
    const int64_t magnitude = value < 0 ? -(int64_t)value : value;
    const int32_t scaled = (int32_t)((magnitude * multiplier + (INT64_C(1) << (shift - 1))) >> shift);
    return value < 0 ? -scaled : scaled;
}
"""

KERNEL = """\
/* Weights: units x depth; one multiplier and shift for all units, or one for each. */
struct fully_connected {
    int32_t batches, depth, units;
    int16_t in_zero, weight_zero, out_zero, low, high, per_unit;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
};

static void fully_connected(const struct fully_connected *p, const int8_t *in, int8_t *out)
{
    const int32_t in_zero = p->in_zero, weight_zero = p->weight_zero, depth = p->depth;
    for (int32_t batch = 0; batch < p->batches; batch++) {
        const int8_t *weights = p->weights;
        for (int32_t unit = 0; unit < p->units; unit++) {
            const int32_t scale = p->per_unit ? unit : 0;
            int32_t sum = p->bias ? p->bias[unit] : 0;
            for (int32_t d = 0; d < depth; d++) {
                sum += (weights[d] - weight_zero) * (in[d] - in_zero);
            }
            sum = scale_exactly(sum, p->multiplier[scale], p->shift[scale]) + p->out_zero;
            *out++ = clamp(sum, p->low, p->high);
            weights += depth;
        }
        in += depth;
    }
}
"""


def problems(op: Op) -> Iterable[str]:
    """Why it can't be compiled."""
    found = [*int8_problems(op, op.input(0), op.output), *fused_problems(op.options.fusedActivationFunction)]
    weights, wrong_weights = constant(op, 1, "int8")
    bias, wrong_bias = constant(op, 2, "int32")
    found += wrong_weights + wrong_bias
    if op.options.weightsFormat != 0:
        found.append("has shuffled weights")
    if weights is None or found:
        yield from found
        return
    if weights.ndim != 2 or weights.shape[0] != op.output.shape[-1] or op.input(0).elements % weights.shape[1]:
        yield f"has the weights {op.input(1)} for {op.input(0)} and {op.output}"
        return
    if op.output.elements != op.input(0).elements // weights.shape[1] * weights.shape[0]:
        yield f"makes {op.output} of {op.input(0)}"
        return
    facts = op.input(1).facts
    if len(facts.scales) not in (1, len(weights)) or min(facts.scales, default=0) <= 0 or facts.channel_axis:
        yield f"has {len(facts.scales)} scales along axis {facts.channel_axis} for {len(weights)} units"
        return
    unwrapped = list(accumulator_problems(op.input(0), centred(op), bias, real_multipliers(op)))
    yield from unwrapped
    if not unwrapped and None in multipliers(op):
        yield "has a scale that no 31-bit multiplier stands for exactly"


def centred(op: Op) -> Array:
    """The weights with their zero point subtracted, which TFLite does only where there is one scale."""
    facts = op.input(1).facts
    weights = op.input(1).values
    if weights is None:
        raise LookupError(f"{op} has no constant weights")
    return weights.astype(np.int64) - (op.input(1).zero_point if len(facts.scales) == 1 else 0)


def real_multipliers(op: Op) -> Array:
    """The real multiplier of the layer, or of each unit, in TFLite's order of operations."""
    scales = np.asarray(op.input(1).facts.scales, np.float64)
    return np.asarray(np.float64(op.input(0).scale) * scales / np.float64(op.output.scale))


def multipliers(op: Op) -> list[Multiplier | None]:
    """The integer multiplier of the layer, or of each unit."""
    bias = op.optional(2)
    largest = largest_accumulators(op.input(0), centred(op), None if bias is None else bias.values)
    reals = real_multipliers(op)
    reach = largest if len(reals) > 1 else [largest.max(initial=0)]
    return [exact_multiplier(float(r), int(n)) for r, n in zip(reals, reach, strict=True)]


def leads(op: Op) -> Mapping[int, Leads]:
    """A row is needed until its last unit is written: a convolution over single pixels."""
    units, depth = op.input(1).shape
    rows = op.output.elements // units
    return {op.input(0).index: Leads(lead_of_pixels(rows, PIXEL, PIXEL, depth, units).forwards)}


def emit(op: Op, place: Place) -> Code:
    """Write it."""
    name = f"op{op.index}"
    weights, bias = op.input(1), op.optional(2)
    units, depth = weights.shape
    scaling = [m for m in multipliers(op) if m is not None]
    low, high = activation_range(op.output, op.options.fusedActivationFunction)
    data = c_array("int8_t", f"{name}_weights", weights.values)
    if bias is not None:
        data += c_array("int32_t", f"{name}_bias", bias.values)
    data += c_array("int32_t", f"{name}_multiplier", [m.value for m in scaling])
    data += c_array("int8_t", f"{name}_shift", [m.shift for m in scaling])
    fields = {
        "batches": op.output.elements // units,
        "depth": depth,
        "units": units,
        "in_zero": op.input(0).zero_point,
        "weight_zero": weights.zero_point if len(scaling) == 1 else 0,
        "out_zero": op.output.zero_point,
        "low": low,
        "high": high,
        "per_unit": int(len(scaling) > 1),
        "weights": f"{name}_weights",
        "bias": "0" if bias is None else f"{name}_bias",
        "multiplier": f"{name}_multiplier",
        "shift": f"{name}_shift",
    }
    call = f"fully_connected(&{name}, {place(op.input(0))}, {place(op.output)});"
    return Code((CLAMP, SCALE_EXACTLY, KERNEL), data + c_struct("fully_connected", name, fields), call)


FULLY_CONNECTED = Kind(problems, leads, emit)
