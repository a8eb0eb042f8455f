"""The demo's images: scikit-learn's digits, split in the order in which they were written.

The 1,797 images stand in the order of their 13 writers. Split at random, the same hand would be in training and in the
stream, and the accuracy would flatter; split by order, the devices see hands that the model never saw.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["POOLS", "Digits", "Pool", "load_digits", "save_pools"]

Pool: TypeAlias = Literal["train", "gate", "before", "during", "after"]

POOLS: dict[Pool, tuple[int, int]] = {
    "train": (0, 800),
    "gate": (800, 1000),
    "before": (1000, 1260),
    "during": (1260, 1530),
    "after": (1530, 1797),
}
"""Which images each part of the demo uses: no image is in two of them, so what is labelled is never what is judged."""


@dataclass(frozen=True)
class Digits:
    """All images: `x` (1797, 8, 8, 1) float32 with values 0 … 16, and their digits `y` (1797,) int64."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]

    def pool(self, pool: Pool) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The images and digits of one pool."""
        first, last = POOLS[pool]
        return self.x[first:last], self.y[first:last]


def load_digits() -> Digits:
    """Read the images (Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998)."""
    from sklearn import datasets

    found = datasets.load_digits()
    return Digits(found.images.astype(np.float32)[..., np.newaxis], found.target.astype(np.int64))


def save_pools(digits: Digits, path: Path) -> None:
    """Write the images that the cameras look at, without their digits: a device doesn't know the truth."""
    pools: dict[str, Any] = {pool: digits.x[first:last] for pool, (first, last) in POOLS.items()}
    np.savez(path, **pools)
