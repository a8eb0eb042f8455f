"""Steps on images (n, height, width[, channels])."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import InputError

__all__ = ["CenterCrop", "Resize"]

Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 14)]


class Resize(msgspec.Struct, frozen=True, tag="resize", tag_field="step", forbid_unknown_fields=True):
    """To `height` × `width`, with half-pixel centers and no antialiasing, as TensorFlow 2's `tf.image.resize`.

    Along an axis of `a` pixels, output pixel `i` of `b` lies at `((2i + 1)·a - b) / 2b` of the input: a fraction of
    integers, so that no rounding picks its neighbours. *nearest* takes the pixel `⌊(2i + 1)·a / 2b⌋`, whatever the
    dtype. *bilinear* takes `low + (high - low)·t` in float32, along the width first and then along the height, where
    `t` is the fraction's remainder, and the outermost pixels are repeated.
    """

    height: Size
    width: Size
    method: Literal["nearest", "bilinear"] = "bilinear"

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Resize (n, height, width[, channels]). Raises `InputError` of another rank."""
        _check_image(x)
        if self.method == "nearest":
            return x[:, _nearest(x.shape[1], self.height)][:, :, _nearest(x.shape[2], self.width)]
        low, high, t = _neighbours(x.shape[2], self.width)
        t = t.reshape(-1, *[1] * (x.ndim - 3))
        x = x[:, :, low] + (x[:, :, high] - x[:, :, low]) * t
        low, high, t = _neighbours(x.shape[1], self.height)
        t = t.reshape(-1, *[1] * (x.ndim - 2))
        return np.asarray(x[:, low] + (x[:, high] - x[:, low]) * t, dtype=np.float32)


class CenterCrop(msgspec.Struct, frozen=True, tag="center_crop", tag_field="step", forbid_unknown_fields=True):
    """The middle `height` × `width` of an image; a smaller image gets a border of zeros.

    An odd pixel is cut, or added, at the far end (as `tf.image.resize_with_crop_or_pad` does).
    """

    height: Size
    width: Size

    def __call__(self, x: NDArray[Any]) -> NDArray[Any]:
        """Crop or pad (n, height, width[, channels]). Raises `InputError` of another rank."""
        _check_image(x)
        out = np.zeros((len(x), self.height, self.width, *x.shape[3:]), dtype=x.dtype)
        (rows_from, rows_to), (columns_from, columns_to) = (
            _overlap(have, want) for have, want in zip(x.shape[1:3], (self.height, self.width), strict=True)
        )
        out[:, rows_to, columns_to] = x[:, rows_from, columns_from]
        return out


def _check_image(x: NDArray[Any]) -> None:
    if x.ndim not in (3, 4):
        raise InputError(f"images are (height, width) or (height, width, channels), not {x.shape[1:]}")


def _nearest(have: int, want: int) -> NDArray[np.int64]:
    return (2 * np.arange(want, dtype=np.int64) + 1) * have // (2 * want)


def _neighbours(have: int, want: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    numerator = (2 * np.arange(want, dtype=np.int64) + 1) * have - want
    low, rest = numerator // (2 * want), numerator % (2 * want)
    t = (rest / np.float64(2 * want)).astype(np.float32)
    return np.clip(low, 0, have - 1), np.clip(low + 1, 0, have - 1), t


def _overlap(have: int, want: int) -> tuple[slice, slice]:
    """Which of `have` pixels are kept, and where they go among `want`."""
    size = min(have, want)
    start, to = (have - size) // 2, (want - size) // 2
    return slice(start, start + size), slice(to, to + size)
