"""The profile: counts over the baseline's bins for one window. Merging is addition, so it is exact in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import PREDICTED_CLASS, Baseline, Feature, bin_counts, output_features
from edgeloop.errors import InputError, MessageError

__all__ = ["Profile", "Profiler", "pack_counts", "unpack_counts"]


@dataclass(frozen=True, eq=False)
class Profile:
    """Counts over a baseline's bins.

    `counts` is int64 of shape (bins,), the features' bins one after another in the order of `Baseline.features`, each
    with its missing bin last. `n` is the number of samples.
    """

    counts: NDArray[np.int64]
    n: int

    def __add__(self, other: Profile) -> Profile:
        """Merge two profiles over the same bins. Raises `InputError` where they have other bins."""
        if self.counts.shape != other.counts.shape:
            raise InputError(
                f"profiles over {len(self.counts)} and {len(other.counts)} bins don't add up: other baselines"
            )
        return Profile(self.counts + other.counts, self.n + other.n)

    def __eq__(self, other: object) -> bool:
        """Equal counts and equal n."""
        return isinstance(other, Profile) and self.n == other.n and np.array_equal(self.counts, other.counts)

    __hash__ = None  # type: ignore[assignment]  # it holds an array

    def split(self, features: Sequence[Feature]) -> list[NDArray[np.int64]]:
        """The counts by feature, each of shape (len(edges) + 2,). Raises `InputError` where they don't fit."""
        sizes = [len(f.counts) for f in features]
        if sum(sizes) != len(self.counts):
            raise InputError(f"a profile of {len(self.counts)} bins doesn't fit a baseline of {sum(sizes)}")
        return np.split(self.counts, np.cumsum(sizes)[:-1])


class Profiler:
    """Counts batches of inputs and outputs over a baseline's bins."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._edges = [np.asarray(f.edges, dtype=np.float32) for f in baseline.features]
        self._bins = sum(len(f.counts) for f in baseline.features)
        by_class = [f for f in baseline.outputs if f.name == PREDICTED_CLASS]
        self._classes = len(by_class[0].edges) + 1 if by_class else 0

    def empty(self) -> Profile:
        """The profile of no samples: the neutral element of the merge."""
        return Profile(np.zeros(self._bins, dtype=np.int64), 0)

    def profile(self, x: NDArray[np.generic], outputs: NDArray[np.generic] | None) -> Profile:
        """Count one batch.

        Args:
            x: (n, …) inputs as they came from the sensor.
            outputs: (n, classes) outputs in real units; not looked at where the baseline has no output features.

        Raises:
            InputError: another number of features than the baseline's, or of outputs than of inputs.
        """
        if len(x) == 0:
            return self.empty()
        values = self._baseline.summarize(x)
        if values.shape[1] != len(self._baseline.inputs):
            raise InputError(f"inputs of {values.shape[1]} features, the baseline has {len(self._baseline.inputs)}")
        if self._classes:
            if outputs is None or len(outputs) != len(x):
                raise InputError(f"{len(x)} inputs and {0 if outputs is None else len(outputs)} outputs")
            values = np.concatenate([values, output_features(outputs, self._classes)], axis=1)
        counts = [bin_counts(edges, column) for edges, column in zip(self._edges, values.T, strict=True)]
        return Profile(np.concatenate(counts), len(x))


_WIDTHS = ("<u1", "<u2", "<u4", "<u8")


def pack_counts(counts: NDArray[np.int64]) -> bytes:
    """Counts for the wire: one byte that says the width (1, 2, 4 or 8), then little-endian unsigned integers."""
    largest = int(counts.max(initial=0))
    code = next(w for w in _WIDTHS if largest <= np.iinfo(w).max)
    return bytes([np.dtype(code).itemsize]) + counts.astype(code).tobytes()


def unpack_counts(raw: bytes) -> NDArray[np.int64]:
    """The inverse of `pack_counts`. Raises `MessageError` for what it can't have written."""
    width = raw[0] if raw else 0
    if width not in (1, 2, 4, 8) or (len(raw) - 1) % width:
        raise MessageError(f"packed counts of {len(raw)} bytes with width {width} aren't counts")
    counts = np.frombuffer(raw, dtype=f"<u{width}", offset=1)
    if width == 8 and len(counts) and counts.max() > np.iinfo(np.int64).max:
        raise MessageError("a packed count is past 2^63")
    return counts.astype(np.int64)
