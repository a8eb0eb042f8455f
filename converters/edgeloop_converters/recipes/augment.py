"""The named changes of a training batch that a recipe may ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError
from edgeloop_converters.passes.training import Augment
from edgeloop_converters.recipes.steps import Augmentation

__all__ = ["augmentation"]

Batch = NDArray[Any]
SHIFT = 8  # one part in so many of a side, at most
IMAGE_RANK, SIGNAL_RANK = 4, 3
NOISE = 0.02


def augmentation(name: Augmentation) -> Augment | None:
    """The function for a name; None for "none".

    "shift" moves each batch of images (n, h, w, c) or signals (n, t, c) by up to an eighth of a side, mirrored at the
    border; "flip_shift" also mirrors half of the images left to right; "noise" adds 2 % of the batch's deviation.
    """
    return {"none": None, "shift": shift, "flip_shift": flip_shift, "noise": noise}[name]


def shift(batch: Batch, rng: np.random.Generator) -> Batch:
    """Move the whole batch by the same random distance along each axis but the first and the last."""
    if batch.ndim not in (IMAGE_RANK, SIGNAL_RANK):
        raise ConfigError(f"augment 'shift' takes images (n, h, w, c) or signals (n, t, c), not {batch.shape}")
    for axis in range(1, batch.ndim - 1):
        size = batch.shape[axis]
        most = size // SHIFT
        where = np.arange(size) + int(rng.integers(-most, most + 1))
        # mirrored at both ends: … 2 1 0 1 2 … n-1 n-2 …
        where = np.abs(where)
        where = np.where(where >= size, 2 * size - 2 - where, where)
        batch = np.take(batch, where, axis=axis)
    return batch


def flip_shift(batch: Batch, rng: np.random.Generator) -> Batch:
    """`shift`, and half of the images mirrored left to right."""
    if batch.ndim != IMAGE_RANK:
        raise ConfigError(f"augment 'flip_shift' takes images (n, h, w, c), not {batch.shape}")
    batch = shift(batch, rng)
    mirrored = rng.random(len(batch)) < 0.5
    return np.where(mirrored[:, None, None, None], batch[:, :, ::-1], batch)


def noise(batch: Batch, rng: np.random.Generator) -> Batch:
    """Gaussian noise of 2 % of the batch's standard deviation."""
    scale = np.float32(NOISE) * batch.std(dtype=np.float32)
    return np.asarray(batch + scale * rng.standard_normal(batch.shape, dtype=np.float32), batch.dtype)
