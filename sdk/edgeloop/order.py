"""What order statistics say of a median, without a word on the distribution."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["median_interval", "median_ranks"]

_NORMAL_975 = 1.959964
_EXACT_BELOW = 1000


def median_ranks(n: int) -> tuple[int, int] | None:
    """The ranks (from 1) whose order statistics enclose the median of the population in at least 95 % of samples.

    They are symmetric, `(r, n + 1 - r)`: r is the largest with P(Bin(n, 1/2) < r) <= 2.5 %, exact under 1,000 and from
    the normal approximation beyond. None under 6 values, where even the extremes enclose it less often.

    Source: H. A. David and H. N. Nagaraja, "Order Statistics", 3rd ed., 2003, section 7.1.
    """
    if n < _EXACT_BELOW:
        rank, below = 0, 0
        while (below + math.comb(n, rank)) * 40 <= 2**n:
            below += math.comb(n, rank)
            rank += 1
    else:
        rank = math.floor((n - _NORMAL_975 * math.sqrt(n)) / 2)
    return (rank, n + 1 - rank) if rank else None


def median_interval(values: ArrayLike) -> tuple[float, float] | None:
    """The 95 % confidence interval of the median of independent `values` (n,), or None where n is under 6."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    ranks = median_ranks(len(ordered))
    return None if ranks is None else (float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1]))
