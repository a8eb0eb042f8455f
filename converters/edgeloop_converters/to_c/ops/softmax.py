"""SOFTMAX: the fixed-point path of TFLite's reference kernel, its exponentials in a table.

The reference kernel computes exp in fixed point for each element; an int8 row has at most 256 distances from its
largest element, so the same numbers are computed here, in integers, and stand in flash. The reciprocal of the sum is
left to the firmware: three steps of Newton and Raphson.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgeloop_converters.to_c.graph import Op
from edgeloop_converters.to_c.multiplier import Multiplier, quantize_multiplier
from edgeloop_converters.to_c.ops.base import Code, Kind, Place, activation_problems, c_array
from edgeloop_converters.to_c.overlap import Leads

__all__ = ["SOFTMAX"]

INTEGER_BITS = 5  # of a scaled distance: Q5.26
ACCUMULATOR_BITS = 12  # of the sum: Q12.19
LARGEST_DEPTH = 2**ACCUMULATOR_BITS - 1
QUARTER = 1 << (31 - INTEGER_BITS - 2)
EXP_MINUS_EIGHTH, THIRD = 1895147668, 715827883  # exp(−1/8) and 1/3, Q0.31
# exp(−2^n) for n from −2 to 4, Q0.31: gemmlowp's constants.
EXP_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
ONE = 2**31 - 1

KERNEL = """\
/* a * b in Q0.31, rounded. */
static int32_t high_mul(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + (INT64_C(1) << 30)) >> 31);
}

/* 1 / (1 + x) for x from 0 to 1, both Q0.31: gemmlowp's three steps of Newton and Raphson, in Q2.29. */
static int32_t reciprocal_of_one_plus(int32_t x)
{
    const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
    int32_t y = 1515870810 + high_mul(half, -1010580540);
    for (int step = 0; step < 3; step++) {
        const int32_t rest = (INT32_C(1) << 29) - high_mul(half, y);
        const int32_t change = high_mul(y, rest);
        /* From Q4.27 to Q2.29, saturated. */
        y += change > 536870911 ? INT32_MAX : change < -536870911 ? INT32_MIN : change * 4;
    }
    return y > 1073741823 ? INT32_MAX : y * 2;
}

static int32_t round_shift(int32_t value, int shift)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << shift) - 1u);
    return (value >> shift) + ((value & mask) > (mask >> 1) + (value < 0 ? 1 : 0) ? 1 : 0);
}

/* `exps` holds exp(-distance) in Q0.31 for the distances that count. */
static void softmax(int32_t rows, int32_t depth, const int32_t *exps, int32_t distances, const int8_t *in, int8_t *out)
{
    for (int32_t row = 0; row < rows; row++, in += depth, out += depth) {
        int32_t most = INT8_MIN, sum = 0;
        int leading = 0;
        for (int32_t i = 0; i < depth; i++) {
            most = in[i] > most ? in[i] : most;
        }
        for (int32_t i = 0; i < depth; i++) {
            if (most - in[i] < distances) {
                sum += round_shift(exps[most - in[i]], 12); /* to Q12.19 */
            }
        }
        while (((uint32_t)sum << leading & UINT32_C(0x80000000)) == 0) {
            leading++;
        }
        const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << leading) - UINT32_C(0x80000000)));
        for (int32_t i = 0; i < depth; i++) {
            int32_t value = INT8_MIN;
            if (most - in[i] < distances) {
                const int shift = 12 - leading + 23; /* above 31 only where many classes share one answer near 0 */
                value += shift > 31 ? 0 : round_shift(high_mul(scale, exps[most - in[i]]), shift);
            }
            out[i] = (int8_t)(value > INT8_MAX ? INT8_MAX : value);
        }
    }
}
"""


def scaling(op: Op) -> Multiplier:
    """TFLite's multiplier from a distance in steps to Q5.26 (`PreprocessSoftmaxScaling`)."""
    real = float(op.options.beta) * op.input(0).scale * (1 << (31 - INTEGER_BITS))
    return quantize_multiplier(min(real, 2.0**31 - 1))


def problems(op: Op) -> Iterable[str]:
    """Why it can't be compiled."""
    found = list(activation_problems(op))
    yield from found
    if found:
        return
    if op.output.zero_point != -128 or abs(op.output.scale - 1 / 256) > 0.001 / 256:
        yield f"has an output of scale {op.output.scale} and zero point {op.output.zero_point}, not 1/256 and -128"
    if op.input(0).shape != op.output.shape or not op.output.shape:
        yield f"makes {op.output} of {op.input(0)}"
    elif op.output.shape[-1] > LARGEST_DEPTH:
        yield f"has {op.output.shape[-1]} classes, more than {LARGEST_DEPTH}"
    if not op.options.beta > 0 or scaling(op).shift < 1:
        yield f"has an input scale of {op.input(0).scale} and beta {op.options.beta}, too small for TFLite's kernel"


def exponentials(scale: Multiplier) -> list[int]:
    """exp(−distance) in Q0.31 for the distances that TFLite's kernel doesn't flush to 0."""
    radius = math.floor(((1 << INTEGER_BITS) - 1) * (1 << (31 - INTEGER_BITS)) / (1 << scale.shift))
    return [exp_of(high_mul(-distance * (1 << scale.shift), scale.value)) for distance in range(min(radius, 255) + 1)]


def exp_of(raw: int) -> int:
    """Gemmlowp's `exp_on_negative_values`: Q5.26 in, Q0.31 out."""
    if raw == 0:
        return ONE
    rest = (raw & (QUARTER - 1)) - QUARTER
    result = exp_near_zero(rest << INTEGER_BITS)
    remainder = rest - raw
    for n, factor in enumerate(EXP_MINUS_POWERS, start=-2):
        if remainder & (1 << (31 - INTEGER_BITS + n)):
            result = high_mul(result, factor)
    return result


def exp_near_zero(a: int) -> int:
    """A Taylor expansion around −1/8 for −1/4 ≤ a < 0, Q0.31."""
    x = a + (1 << 28)
    x2 = high_mul(x, x)
    x3, x4 = high_mul(x2, x), high_mul(x2, x2)
    higher = high_mul(round_shift(x4, 2) + x3, THIRD) + x2
    return EXP_MINUS_EIGHTH + high_mul(EXP_MINUS_EIGHTH, x + round_shift(higher, 1))


def high_mul(a: int, b: int) -> int:
    """Q0.31 product, rounded as gemmlowp's `SaturatingRoundingDoublingHighMul`."""
    return (a * b + (1 << 30)) >> 31


def round_shift(value: int, shift: int) -> int:
    """Gemmlowp's `RoundingDivideByPOT`: half away from zero."""
    mask = (1 << shift) - 1
    return (value >> shift) + ((value & mask) > (mask >> 1) + (value < 0))


def emit(op: Op, place: Place) -> Code:
    """Write it."""
    name = f"op{op.index}"
    table = exponentials(scaling(op))
    depth = op.output.shape[-1]
    rows = op.output.elements // depth
    data = c_array("int32_t", f"{name}_exps", table)
    source, target = place(op.input(0)), place(op.output)
    return Code((KERNEL,), data, f"softmax({rows}, {depth}, {name}_exps, {len(table)}, {source}, {target});")


SOFTMAX = Kind(problems, lambda op: {op.input(0).index: Leads(0)}, emit)
