"""How far an operator's output may lie over its input: diagonal memory optimisation.

An operator that writes its output in order, and has no more use for the front of its input by then, may write there.
Source: Blacker, Bridges and Hadfield, "Diagonal Memory Optimisation for Machine Learning on Micro-controllers"
(2020). The loops of the C kernels are those that are followed here: outputs in the order of memory, each
written after what it is computed from was read; or all of it backwards, with the output behind the input. A chain of
layers that goes down the arena forwards and up again backwards needs little more than its largest tensor.

A lead is the least distance in bytes from the output's start up to the input's start; backwards, from the input's
end up to the output's end. An op without any overlap has its output's size as its lead, one that works in place has 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from edgeloop_converters.to_c.graph import Array

__all__ = ["NEVER", "Leads", "Window", "lead_of_channels", "lead_of_elements", "lead_of_pixels"]

NEVER = 1 << 40  # the position of what is read no more; times a depth it still fits int64


class Leads(NamedTuple):
    """How an op's output may lie over an input.

    Attributes:
        forwards: its lead in bytes, outputs written in the order of memory.
        backwards: its lead in bytes, outputs written from the last to the first; None where its kernel can't.
    """

    forwards: int
    backwards: int | None = None


class Window(NamedTuple):
    """A sliding window over an image, one axis.

    Attributes:
        size: of the input.
        made: of the output.
        taps: of the filter.
        stride: between outputs.
        dilation: between taps.
        before: the padding in front.
    """

    size: int
    made: int
    taps: int
    stride: int
    dilation: int
    before: int

    def first(self) -> Array:
        """The first input position that each output reads, `(made,)` int64; NEVER where it reads none."""
        positions = np.arange(self.made)[:, None] * self.stride - self.before + np.arange(self.taps) * self.dilation
        inside = (positions >= 0) & (positions < self.size)
        found: Array = np.where(inside, positions, NEVER).min(axis=1)
        return found

    def mirrored(self) -> Window:
        """The same window, seen from the image's other end."""
        span = (self.made - 1) * self.stride + (self.taps - 1) * self.dilation + 1
        return self._replace(before=span - self.size - self.before)


def first_pixels(batches: int, y: Window, x: Window) -> Array:
    """The first input pixel that each output pixel reads, in the order of memory."""
    rows, columns = y.first()[:, None], x.first()[None, :]
    pixels = np.where((rows == NEVER) | (columns == NEVER), NEVER, np.minimum(rows, y.size) * x.size + columns)
    batch = np.arange(batches)[:, None] * (y.size * x.size)
    found = np.where(pixels.reshape(1, -1) == NEVER, NEVER, batch + pixels.reshape(1, -1)).reshape(-1)
    return found.astype(np.int64)


def from_here_on(first: Array) -> Array:
    """The least of each element and all that follow it."""
    return np.minimum.accumulate(first[::-1])[::-1]


def lead_of_pixels(batches: int, y: Window, x: Window, depth_in: int, depth_out: int) -> Leads:
    """The leads of an op whose every output channel reads all channels of its window."""

    def lead(y: Window, x: Window) -> int:
        needed = np.append(from_here_on(first_pixels(batches, y, x)), NEVER) * depth_in
        written = (np.arange(len(needed) - 1) + 1) * depth_out
        before_the_last_channel = written - 1 - needed[:-1] if depth_out > 1 else 0
        return max(0, int(np.maximum(before_the_last_channel, written - needed[1:]).max()))

    return Leads(lead(y, x), lead(y.mirrored(), x.mirrored()))


def lead_of_channels(batches: int, y: Window, x: Window, depth_in: int, multiplier: int) -> Leads:
    """The leads of an op whose output channel reads its own input channel only."""
    depth_out = depth_in * multiplier

    def lead(y: Window, x: Window) -> int:
        first = first_pixels(batches, y, x)
        later = np.append(from_here_on(first)[1:], NEVER) * depth_in
        most = 0
        for channel in range(depth_out):
            needed = later
            if channel + 1 < depth_out:
                needed = np.minimum(later, first * depth_in + (channel + 1) // multiplier)
            written = np.arange(len(first)) * depth_out + channel + 1
            most = max(most, int((written - needed).max()))
        return most

    return Leads(lead(y, x), lead(y.mirrored(), x.mirrored()))


def lead_of_elements(reads: Array) -> int:
    """The lead of an op that makes each element of its output from one of its input.

    Args:
        reads: for each output element, the input element that it is made from; NEVER for none.
    """
    later = np.append(from_here_on(reads.reshape(-1)), NEVER)[1:]
    return max(0, int((np.arange(1, math.prod(reads.shape) + 1) - later).max(initial=0)))
