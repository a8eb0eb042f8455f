"""CONV_2D and DEPTHWISE_CONV_2D: TFLite's per-channel reference kernels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from edgeloop_converters.to_c.graph import Array, Op
from edgeloop_converters.to_c.multiplier import activation_range, quantize_multiplier
from edgeloop_converters.to_c.ops.base import (
    CLAMP,
    SCALE_BY,
    Code,
    Kind,
    Place,
    c_array,
    c_struct,
    constant,
    fused_problems,
    int8_problems,
)
from edgeloop_converters.to_c.ops.bounds import accumulator_problems
from edgeloop_converters.to_c.ops.window import WINDOW, window_fields, window_problems, windows
from edgeloop_converters.to_c.overlap import Leads, lead_of_channels, lead_of_pixels

__all__ = ["CONV_2D", "DEPTHWISE_CONV_2D"]

CONV = """\
/* Weights and scales of a convolution: one bias, multiplier and shift for each output channel. */
struct conv {
    struct window window;
    int16_t in_depth, out_depth, in_zero, out_zero, low, high;
    const int8_t *weights;
    const int32_t *bias;
    const int32_t *multiplier;
    const int8_t *shift;
};
"""

CONV_KERNEL = """\
/* Weights: out_depth x taps_h x taps_w x the input channels of one group. */
static void conv_2d(const struct conv *p, int32_t group_in, int32_t group_out, const int8_t *in, int8_t *out)
{
    const struct window *w = &p->window;
    const int32_t in_zero = p->in_zero;
    for (int32_t n = 0; n < pixels_of(w); n++) {
        const struct spot s = spot_of(w, n);
        for (int32_t k = 0; k < p->out_depth; k++) {
            const int32_t c = channel_of(w, p->out_depth, k);
            const int8_t *filter = p->weights + c * w->taps_h * w->taps_w * group_in;
            const int8_t *group = in + (group_out == p->out_depth ? 0 : c / group_out * group_in);
            int32_t sum = p->bias ? p->bias[c] : 0;
            for (int32_t i = s.first_y; i < s.end_y; i++) {
                const int8_t *a = group + pixel_under(w, &s, i, s.first_x) * p->in_depth;
                const int8_t *b = filter + (i * w->taps_w + s.first_x) * group_in;
                for (int32_t j = s.first_x; j < s.end_x; j++) {
                    for (int32_t d = 0; d < group_in; d++) {
                        sum += b[d] * (a[d] - in_zero);
                    }
                    a += w->dilation_w * p->in_depth;
                    b += group_in;
                }
            }
            sum = scale_by(sum, p->multiplier[c], p->shift[c]) + p->out_zero;
            out[s.pixel * p->out_depth + c] = clamp(sum, p->low, p->high);
        }
    }
}
"""

DEPTHWISE_KERNEL = """\
/* Weights: taps_h x taps_w x out_depth; every input channel makes `times` output channels. */
static void depthwise_conv_2d(const struct conv *p, int32_t times, const int8_t *in, int8_t *out)
{
    const struct window *w = &p->window;
    const int32_t in_zero = p->in_zero;
    for (int32_t n = 0; n < pixels_of(w); n++) {
        const struct spot s = spot_of(w, n);
        for (int32_t k = 0; k < p->out_depth; k++) {
            const int32_t c = channel_of(w, p->out_depth, k);
            int32_t sum = p->bias ? p->bias[c] : 0;
            const int8_t *channel = in + (times == 1 ? c : c / times);
            for (int32_t i = s.first_y; i < s.end_y; i++) {
                const int8_t *a = channel + pixel_under(w, &s, i, s.first_x) * p->in_depth;
                const int8_t *b = p->weights + (i * w->taps_w + s.first_x) * p->out_depth + c;
                for (int32_t j = s.first_x; j < s.end_x; j++) {
                    sum += *b * (*a - in_zero);
                    a += w->dilation_w * p->in_depth;
                    b += p->out_depth;
                }
            }
            sum = scale_by(sum, p->multiplier[c], p->shift[c]) + p->out_zero;
            out[s.pixel * p->out_depth + c] = clamp(sum, p->low, p->high);
        }
    }
}
"""


def filter_taps(op: Op) -> tuple[int, int]:
    """The height and width of its filter: OHWI, or 1HWO for a depthwise one."""
    shape = op.input(1).shape
    return shape[1], shape[2]


def channel_scales(op: Op, channels: int) -> Array:
    """The real multiplier of each output channel, in double precision and in TFLite's order."""
    scales = np.asarray(op.input(1).facts.scales, np.float64)
    return np.broadcast_to(np.float64(op.input(0).scale) * scales / np.float64(op.output.scale), (channels,))


def conv_problems(op: Op, *, depthwise: bool) -> Iterable[str]:
    """Why a convolution can't be compiled."""
    found = [*int8_problems(op, op.input(0), op.output), *fused_problems(op.options.fusedActivationFunction)]
    weights, wrong_weights = constant(op, 1, "int8")
    bias, wrong_bias = constant(op, 2, "int32")
    found += wrong_weights + wrong_bias
    if weights is None or found:
        yield from found
        return
    if weights.ndim != 4:
        yield f"has the filter {op.input(1)} where four dimensions are needed"
        return
    yield from window_problems(op, filter_taps(op))
    depth_in, depth_out = op.input(0).shape[-1], op.output.shape[-1]
    axis = 3 if depthwise else 0
    scales = op.input(1).facts.scales
    if weights.shape[axis] != depth_out or len(scales) not in (1, depth_out) or min(scales, default=0) <= 0:
        yield f"has {len(scales)} scales and the filter {op.input(1)} for {depth_out} output channels"
        return
    if depthwise and (weights.shape[0] != 1 or depth_out % depth_in):
        yield f"has the filter {op.input(1)} for {depth_in} input channels"
        return
    if not depthwise and (depth_in % weights.shape[3] or depth_out % (depth_in // weights.shape[3])):
        yield f"has the filter {op.input(1)} for {depth_in} input channels"
        return
    if len(scales) > 1 and op.input(1).facts.channel_axis != axis:
        yield f"has scales along axis {op.input(1).facts.channel_axis} of its filter"
    by_channel = np.moveaxis(weights, axis, 0).reshape(depth_out, -1)
    yield from accumulator_problems(op.input(0), by_channel, bias, channel_scales(op, depth_out))


def conv_struct(op: Op, *, backwards: bool) -> tuple[str, str]:
    """The constants of a convolution, and the address of its struct."""
    name = f"op{op.index}"
    weights, bias = op.input(1), op.optional(2)
    depth = op.output.shape[-1]
    multipliers = [quantize_multiplier(float(s)) for s in channel_scales(op, depth)]
    low, high = activation_range(op.output, op.options.fusedActivationFunction)
    data = c_array("int8_t", f"{name}_weights", weights.values)
    if bias is not None:
        data += c_array("int32_t", f"{name}_bias", bias.values)
    data += c_array("int32_t", f"{name}_multiplier", [m.value for m in multipliers])
    data += c_array("int8_t", f"{name}_shift", [m.shift for m in multipliers])
    fields: dict[str, Any] = {
        **window_fields(op, filter_taps(op), backwards=backwards),
        "in_depth": op.input(0).shape[-1],
        "out_depth": depth,
        "in_zero": op.input(0).zero_point,
        "out_zero": op.output.zero_point,
        "low": low,
        "high": high,
        "weights": f"{name}_weights",
        "bias": "0" if bias is None else f"{name}_bias",
        "multiplier": f"{name}_multiplier",
        "shift": f"{name}_shift",
    }
    return data + c_struct("conv", name, fields), f"&{name}"


def conv_leads(op: Op) -> Mapping[int, Leads]:
    """An output pixel is written when its window was read; the next channel reads the window again."""
    y, x = windows(op, filter_taps(op))
    batches = op.output.shape[0]
    return {op.input(0).index: lead_of_pixels(batches, y, x, op.input(0).shape[-1], op.output.shape[-1])}


def depthwise_leads(op: Op) -> Mapping[int, Leads]:
    """An output channel is written when its own input channel was read."""
    y, x = windows(op, filter_taps(op))
    batches, depth_in = op.output.shape[0], op.input(0).shape[-1]
    return {op.input(0).index: lead_of_channels(batches, y, x, depth_in, op.output.shape[-1] // depth_in)}


def emit_conv(op: Op, place: Place) -> Code:
    """Write a CONV_2D; a filter with fewer channels than the input has several groups."""
    data, struct = conv_struct(op, backwards=place.backwards(op, conv_leads(op)[op.input(0).index]))
    group_in = op.input(1).shape[3]
    group_out = op.output.shape[3] // (op.input(0).shape[3] // group_in)
    call = f"conv_2d({struct}, {group_in}, {group_out}, {place(op.input(0))}, {place(op.output)});"
    return Code((CLAMP, SCALE_BY, WINDOW, CONV, CONV_KERNEL), data, call)


def emit_depthwise(op: Op, place: Place) -> Code:
    """Write a DEPTHWISE_CONV_2D."""
    data, struct = conv_struct(op, backwards=place.backwards(op, depthwise_leads(op)[op.input(0).index]))
    times = op.output.shape[3] // op.input(0).shape[3]
    call = f"depthwise_conv_2d({struct}, {times}, {place(op.input(0))}, {place(op.output)});"
    return Code((CLAMP, SCALE_BY, WINDOW, CONV, DEPTHWISE_KERNEL), data, call)


CONV_2D = Kind(lambda op: conv_problems(op, depthwise=False), conv_leads, emit_conv)
DEPTHWISE_CONV_2D = Kind(lambda op: conv_problems(op, depthwise=True), depthwise_leads, emit_depthwise)
