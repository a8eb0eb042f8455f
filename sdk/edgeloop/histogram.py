"""A histogram of latencies that can be added to another's, and whose quantiles are within 1 % of the exact ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import MessageError
from edgeloop.profile import pack_counts, unpack_counts

__all__ = [
    "LEAST_US",
    "MOST_US",
    "RELATIVE_ERROR",
    "LatencyHistogram",
    "bucket_value_us",
    "histogram",
    "unpack_histogram",
]

RELATIVE_ERROR = 0.01
LEAST_US = 0.05
MOST_US = 1e9
"""Latencies outside of these limits (a quarter of an hour) are counted at them."""

_LOG_GAMMA = math.log((1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR))
_BUCKETS = math.ceil(math.log(MOST_US / LEAST_US) / _LOG_GAMMA) + 1
_OFFSET_BYTES = 2


@dataclass(frozen=True, eq=False)
class LatencyHistogram:
    """Counts in buckets that grow by the same ratio, γ = (1 + α) / (1 - α) with α = 1 %.

    Bucket i holds the latencies in (LEAST_US · γ^(i-1), LEAST_US · γ^i]; the value in it that is within α of them all
    stands for them. Merging is addition, so it doesn't matter where and in which order it is done.

    Source: C. Masson, J. E. Rim and H. K. Lee, "DDSketch: A Fast and Fully-Mergeable Quantile Sketch with
    Relative-Error Guarantees", 2019. Theirs drops the lowest buckets when there are too many; this one has a fixed
    range instead.

    Args:
        counts: of each bucket, int64.
    """

    counts: NDArray[np.int64]

    @property
    def n(self) -> int:
        """How many latencies were counted."""
        return int(self.counts.sum())

    def __add__(self, other: LatencyHistogram) -> LatencyHistogram:
        return LatencyHistogram(self.counts + other.counts)

    def quantile_us(self, q: float) -> float | None:
        """The latency at rank ⌊q (n - 1)⌋ from 0, within 1 %; None of no latencies.

        Raises:
            ValueError: q is not within 0 and 1.
        """
        if not 0 <= q <= 1:
            raise ValueError(f"the quantile {q} is not within 0 and 1")
        upto = np.cumsum(self.counts)
        if not upto[-1]:
            return None
        bucket = int(np.searchsorted(upto, math.floor(q * (int(upto[-1]) - 1)), side="right"))
        return float(bucket_value_us(np.array(bucket)))

    def used(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The buckets that hold something, (k,) each: the value in microseconds that stands for one, and its count."""
        at = np.flatnonzero(self.counts)
        return bucket_value_us(at), self.counts[at]

    def pack(self) -> bytes:
        """For the wire: the first bucket in use, then the counts up to the last one; some hundred bytes as a rule."""
        used = np.flatnonzero(self.counts)
        if not len(used):
            return b""
        first, last = int(used[0]), int(used[-1])
        return first.to_bytes(_OFFSET_BYTES, "little") + pack_counts(self.counts[first : last + 1])


def bucket_value_us(bucket: NDArray[np.integer]) -> NDArray[np.float64]:
    """The latency in microseconds that stands for all in a bucket: within 1 % of each."""
    value: NDArray[np.float64] = LEAST_US * np.exp(bucket * _LOG_GAMMA) * (1 - RELATIVE_ERROR)
    return value


def histogram(latency_us: NDArray[np.floating]) -> LatencyHistogram:
    """Of latencies (n,), in microseconds and finite; of none of them, the neutral element of the addition."""
    within = np.clip(np.asarray(latency_us, dtype=np.float64), LEAST_US, MOST_US)
    buckets = np.ceil(np.log(within / LEAST_US) / _LOG_GAMMA).astype(np.int64)
    return LatencyHistogram(np.bincount(buckets, minlength=_BUCKETS))


def unpack_histogram(raw: bytes) -> LatencyHistogram:
    """The inverse of `pack`. Raises `MessageError` for what it can't have written."""
    counts = np.zeros(_BUCKETS, dtype=np.int64)
    if raw:
        found = unpack_counts(raw[_OFFSET_BYTES:])
        first = int.from_bytes(raw[:_OFFSET_BYTES], "little")
        if first + len(found) > _BUCKETS:
            raise MessageError(f"a histogram of {first + len(found)} buckets: there are {_BUCKETS}")
        counts[first : first + len(found)] = found
    return LatencyHistogram(counts)
