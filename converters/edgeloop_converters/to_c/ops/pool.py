"""AVERAGE_POOL_2D and MAX_POOL_2D."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgeloop_converters.to_c.graph import Op
from edgeloop_converters.to_c.multiplier import activation_range
from edgeloop_converters.to_c.ops.base import (
    CLAMP,
    Code,
    Kind,
    Place,
    activation_problems,
    c_struct,
    fused_problems,
)
from edgeloop_converters.to_c.ops.window import WINDOW, window_fields, window_problems, windows
from edgeloop_converters.to_c.overlap import Leads, lead_of_channels

__all__ = ["AVERAGE_POOL_2D", "MAX_POOL_2D"]

POOL = """\
struct pool {
    struct window window;
    int16_t depth, low, high;
};
"""

AVERAGE_KERNEL = """\
/* The mean of the taps inside the image, rounded half away from zero. */
static void average_pool_2d(const struct pool *p, const int8_t *in, int8_t *out)
{
    const struct window *w = &p->window;
    for (int32_t n = 0; n < pixels_of(w); n++) {
        const struct spot s = spot_of(w, n);
        const int32_t count = (s.end_y - s.first_y) * (s.end_x - s.first_x);
        for (int32_t k = 0; k < p->depth; k++) {
            const int32_t c = channel_of(w, p->depth, k);
            int32_t sum = 0;
            for (int32_t i = s.first_y; i < s.end_y; i++) {
                const int8_t *a = in + pixel_under(w, &s, i, s.first_x) * p->depth + c;
                for (int32_t j = s.first_x; j < s.end_x; j++, a += p->depth) {
                    sum += *a;
                }
            }
            sum = (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
            out[s.pixel * p->depth + c] = clamp(sum, p->low, p->high);
        }
    }
}
"""

MAX_KERNEL = """\
static void max_pool_2d(const struct pool *p, const int8_t *in, int8_t *out)
{
    const struct window *w = &p->window;
    for (int32_t n = 0; n < pixels_of(w); n++) {
        const struct spot s = spot_of(w, n);
        for (int32_t k = 0; k < p->depth; k++) {
            const int32_t c = channel_of(w, p->depth, k);
            int32_t most = INT8_MIN;
            for (int32_t i = s.first_y; i < s.end_y; i++) {
                const int8_t *a = in + pixel_under(w, &s, i, s.first_x) * p->depth + c;
                for (int32_t j = s.first_x; j < s.end_x; j++, a += p->depth) {
                    most = *a > most ? *a : most;
                }
            }
            out[s.pixel * p->depth + c] = clamp(most, p->low, p->high);
        }
    }
}
"""


def taps(op: Op) -> tuple[int, int]:
    """The height and width of its window."""
    return int(op.options.filterHeight), int(op.options.filterWidth)


def problems(op: Op) -> Iterable[str]:
    """Why it can't be compiled."""
    found = [*activation_problems(op), *fused_problems(op.options.fusedActivationFunction)]
    found = found or list(window_problems(op, taps(op)))
    yield from found
    if not found and op.input(0).shape[3] != op.output.shape[3]:
        yield f"makes {op.output} of {op.input(0)}"


def leads(op: Op) -> Mapping[int, Leads]:
    """An output channel is written when its own input channel was read."""
    y, x = windows(op, taps(op))
    return {op.input(0).index: lead_of_channels(op.output.shape[0], y, x, op.output.shape[3], 1)}


def emit_with(kernel: str, function: str, op: Op, place: Place) -> Code:
    """Write a pool."""
    low, high = activation_range(op.output, op.options.fusedActivationFunction)
    backwards = place.backwards(op, leads(op)[op.input(0).index])
    fields = {**window_fields(op, taps(op), backwards=backwards), "depth": op.output.shape[3], "low": low, "high": high}
    call = f"{function}(&op{op.index}, {place(op.input(0))}, {place(op.output)});"
    return Code((CLAMP, WINDOW, POOL, kernel), c_struct("pool", f"op{op.index}", fields), call)


AVERAGE_POOL_2D = Kind(problems, leads, lambda op, place: emit_with(AVERAGE_KERNEL, "average_pool_2d", op, place))
MAX_POOL_2D = Kind(problems, leads, lambda op, place: emit_with(MAX_KERNEL, "max_pool_2d", op, place))
