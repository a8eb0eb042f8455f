"""What is profiled of an input: its own columns, or a stated set of summaries of an image or a signal.

A profile of 64 pixels says less of a lens than four summaries do, and costs 16 times as much.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, InputError
from edgeloop.signal_summaries import SIGNAL_SUMMARIES, summarize_signals

__all__ = ["IMAGE_SUMMARIES", "Part", "SummaryKind", "part_names", "summarize", "summarize_parts", "summary_names"]

SummaryKind: TypeAlias = Literal["columns", "image", "signal"]

Floats: TypeAlias = NDArray[np.float32]

IMAGE_SUMMARIES = ("brightness", "contrast", "sharpness", "noise")


def summary_names(kind: SummaryKind, sample_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of the features that `summarize` gives for samples of `sample_shape` (no batch axis)."""
    if kind == "image":
        return IMAGE_SUMMARIES
    if kind == "signal":
        return SIGNAL_SUMMARIES
    return tuple(f"x{i}" for i in range(int(np.prod(sample_shape))))


def summarize(kind: SummaryKind, x: NDArray[np.generic]) -> Floats:
    """The features to profile: float32 of shape (n, features) for `x` of shape (n, …).

    `columns` takes the sample flattened. `image` takes (n, height, width) or (n, height, width, channels) and gives,
    on the mean over the channels: *brightness*, the mean; *contrast*, the standard deviation; *sharpness*, the
    variance of the Laplacian over the image's own variance (Pech-Pacheco et al., 2000, made independent of contrast);
    *noise*, the standard deviation of the residual under a mask that cancels image structure (Immerkær, 1996).
    `signal` takes windows (n, samples[, channels]): see `edgeloop.signal_summaries`.
    A sample with a value that isn't finite gives NaN, which the profile counts as missing.

    Raises:
        ConfigError: another kind.
        InputError: an image of another rank, or smaller than 3 × 3; a signal of another rank, or too short.
    """
    if kind not in _KINDS:
        raise ConfigError(f"no summary {kind!r}: there are {', '.join(_KINDS)}")
    return _KINDS[kind](np.asarray(x, dtype=np.float32))


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input of several within a row: its name, its shape as the sensor gives it, and how it is summarized."""

    name: str
    shape: tuple[int, ...]
    summary: SummaryKind


def part_names(parts: Sequence[Part]) -> tuple[str, ...]:
    """The names of the features that `summarize_parts` gives: the input's, a dot, the feature's."""
    return tuple(f"{part.name}.{name}" for part in parts for name in summary_names(part.summary, part.shape))


def summarize_parts(parts: Sequence[Part], x: NDArray[np.generic]) -> Floats:
    """The features of several inputs: float32 (n, features) of rows (n, values), the inputs one after another.

    Raises:
        InputError: the rows have another length than the parts together.
    """
    sizes = [math.prod(part.shape) for part in parts]
    rows = np.asarray(x, dtype=np.float32).reshape(len(x), -1)
    if rows.shape[1] != sum(sizes):
        raise InputError(
            f"rows of {rows.shape[1]} values: the inputs {', '.join(p.name for p in parts)} have {sum(sizes)}"
        )
    cuts = np.split(rows, np.cumsum(sizes)[:-1], axis=1)
    shaped = (cut.reshape(len(cut), *part.shape) for part, cut in zip(parts, cuts, strict=True))
    return np.concatenate([summarize(p.summary, values) for p, values in zip(parts, shaped, strict=True)], axis=1)


def _columns(x: Floats) -> Floats:
    return x.reshape(len(x), -1)


def _image(x: Floats) -> Floats:
    if x.ndim == 4:
        x = x.mean(axis=3)
    if x.ndim != 3 or min(x.shape[1:]) < 3:
        raise InputError(f"image summaries take (n, height, width[, channels]) of at least 3 × 3, not {x.shape}")
    brightness = x.mean(axis=(1, 2))
    variance = x.var(axis=(1, 2))
    laplacian, residual = _stencils(x)
    # A flat image has no edges and no noise: 0, not 0 / 0.
    sharpness = laplacian.var(axis=(1, 2)) / np.maximum(variance, np.float32(1e-12))
    noise = np.sqrt(np.pi / 2) / 6 * np.abs(residual).mean(axis=(1, 2))
    return np.stack([brightness, np.sqrt(variance), sharpness, noise], axis=1).astype(np.float32)


def _stencils(x: Floats) -> tuple[Floats, Floats]:
    """The Laplacian and Immerkær's mask [[1,-2,1],[-2,4,-2],[1,-2,1]] over the inner pixels, by slices."""
    top, middle, bottom = x[:, :-2], x[:, 1:-1], x[:, 2:]
    laplacian = (top + bottom - 2 * middle)[:, :, 1:-1] + middle[:, :, :-2] + middle[:, :, 2:] - 2 * middle[:, :, 1:-1]
    rows = top - 2 * middle + bottom
    residual = rows[:, :, :-2] - 2 * rows[:, :, 1:-1] + rows[:, :, 2:]
    return laplacian, residual


_KINDS: dict[SummaryKind, Callable[[Floats], Floats]] = {
    "columns": _columns,
    "image": _image,
    "signal": summarize_signals,
}
