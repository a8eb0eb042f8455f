"""Sliding windows, which convolutions and pools share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgeloop_converters.to_c.graph import Op
from edgeloop_converters.to_c.overlap import Window

__all__ = ["WINDOW", "window_fields", "window_problems", "windows"]

SAME, VALID = 0, 1  # the schema's paddings

WINDOW = """\
/* A window that slides over an image, forwards or backwards. */
struct window {
    int16_t batches, in_h, in_w, out_h, out_w, taps_h, taps_w;
    int16_t stride_h, stride_w, dilation_h, dilation_w, pad_h, pad_w;
    int16_t backwards;
};

/* The window over one output pixel. */
struct spot {
    int32_t pixel;                          /* the output pixel, over all batches */
    int32_t row, column;                    /* where tap (0, 0) lies; rows go on from batch to batch */
    int32_t first_y, end_y, first_x, end_x; /* the taps inside the image */
};

static int32_t pixels_of(const struct window *w)
{
    return (int32_t)w->batches * w->out_h * w->out_w;
}

static int32_t first_tap(int32_t origin, int32_t dilation)
{
    return origin < 0 ? (dilation - 1 - origin) / dilation : 0;
}

static int32_t end_tap(int32_t origin, int32_t dilation, int32_t size, int32_t taps)
{
    const int32_t inside = origin < size ? (size - origin + dilation - 1) / dilation : 0;
    return inside < taps ? inside : taps;
}

/* The n-th output pixel that is computed. */
static struct spot spot_of(const struct window *w, int32_t n)
{
    struct spot s;
    s.pixel = w->backwards ? pixels_of(w) - 1 - n : n;
    const int32_t batch = s.pixel / w->out_w / w->out_h;
    const int32_t y = s.pixel / w->out_w % w->out_h * w->stride_h - w->pad_h;
    s.row = batch * w->in_h + y;
    s.column = s.pixel % w->out_w * w->stride_w - w->pad_w;
    s.first_y = first_tap(y, w->dilation_h);
    s.end_y = end_tap(y, w->dilation_h, w->in_h, w->taps_h);
    s.first_x = first_tap(s.column, w->dilation_w);
    s.end_x = end_tap(s.column, w->dilation_w, w->in_w, w->taps_w);
    return s;
}

/* The input pixel under a tap. */
static int32_t pixel_under(const struct window *w, const struct spot *s, int32_t i, int32_t j)
{
    return (s->row + i * w->dilation_h) * w->in_w + s->column + j * w->dilation_w;
}

/* The n-th channel that is computed. */
static int32_t channel_of(const struct window *w, int32_t depth, int32_t n)
{
    return w->backwards ? depth - 1 - n : n;
}
"""


def window_problems(op: Op, taps: tuple[int, int]) -> Iterable[str]:
    """Why its window can't be compiled."""
    options = op.options
    if len(op.input(0).shape) != 4 or len(op.output.shape) != 4:
        yield f"has the input {op.input(0)} where four dimensions are needed"
        return
    if options.padding not in (SAME, VALID):
        yield f"has the padding {options.padding}"
    dilations = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
    if not all(0 < value <= 32767 for value in (options.strideH, options.strideW, *dilations, *taps)):
        yield f"has the strides {(options.strideH, options.strideW)}, dilations {dilations} and filter {taps}"
        return
    for window, made in zip(windows(op, taps), op.output.shape[1:3], strict=True):
        span = (window.taps - 1) * window.dilation + 1
        fits = window.size if options.padding == SAME else window.size - span + 1
        if -(-fits // window.stride) != made:
            yield f"makes {op.output} of {op.input(0)}, which its strides and padding don't give"


def windows(op: Op, taps: tuple[int, int]) -> tuple[Window, Window]:
    """Its windows along height and width."""
    options = op.options
    sizes, made = op.input(0).shape[1:3], op.output.shape[1:3]
    strides = (options.strideH, options.strideW)
    dilations = (getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1))
    height, width = (
        Window(*axis, before=max(0, (axis[1] - 1) * axis[3] + (axis[2] - 1) * axis[4] + 1 - axis[0]) // 2)
        if options.padding == SAME
        else Window(*axis, before=0)
        for axis in zip(sizes, made, taps, strides, dilations, strict=True)
    )
    return height, width


def window_fields(op: Op, taps: tuple[int, int], *, backwards: bool) -> dict[str, Any]:
    """The C initializer of its window."""
    y, x = windows(op, taps)
    numbers = (
        *(op.output.shape[0], y.size, x.size, y.made, x.made, y.taps, x.taps),
        *(y.stride, x.stride, y.dilation, x.dilation, y.before, x.before),
        int(backwards),
    )
    return {"window": "{" + ", ".join(map(str, numbers)) + "}"}
