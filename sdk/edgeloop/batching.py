"""Many samples in one call of the interpreter, where the model can be made larger; else one after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeloop.backends import Backend

__all__ = ["Batcher"]

Array: TypeAlias = NDArray[Any]

# Past some dozens of samples a call's own cost is gone, and the activations leave the caches.
_ROWS = 32


class Batcher:
    """Runs batches of stored values; the larger interpreter is made when first needed.

    Some models give something else for a batch without an error (one that normalizes over it, say). So the first batch
    is compared with single runs, and a model that differs runs one by one from then on.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._larger: Backend | None = None
        self._tried = False

    @property
    def is_batched(self) -> bool:
        """Whether a larger interpreter is in use."""
        return self._larger is not None

    def __call__(self, inputs: Sequence[Array]) -> list[Array]:
        """Inputs of (n, …) each, as the model stores them; the outputs, (n, …) each, likewise."""
        count = len(inputs[0])
        whole = count - count % _ROWS
        if not self._tried and whole:
            self._tried = True
            self._larger = self._checked([x[:_ROWS] for x in inputs])
        larger, chunks, done = self._larger, [], 0
        if larger is not None:
            chunks = [larger.invoke([x[i : i + _ROWS] for x in inputs]) for i in range(0, whole, _ROWS)]
            done = whole
        chunks += self._one_by_one([x[done:] for x in inputs])
        if not chunks:
            return [np.empty((0, *spec.shape[1:]), dtype=spec.dtype) for spec in self._backend.outputs]
        return [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _one_by_one(self, inputs: list[Array]) -> list[list[Array]]:
        return [self._backend.invoke([x[i : i + 1] for x in inputs]) for i in range(len(inputs[0]))]

    def _checked(self, inputs: list[Array]) -> Backend | None:
        """The larger model, where it answers `inputs` as single runs do."""
        larger = self._backend.batched(_ROWS)
        if larger is None:
            return None
        together = larger.invoke(inputs)
        apart = [np.concatenate(parts) for parts in zip(*self._one_by_one(inputs), strict=True)]
        same = (_agree(a, b) for a, b in zip(together, apart, strict=True))
        return larger if all(same) else None


def _agree(a: Array, b: Array) -> bool:
    """Integers must be the same; floats within what another order of additions may change."""
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    return bool(np.allclose(a, b, rtol=1e-4, atol=1e-5 * float(np.abs(b).max(initial=0))))
