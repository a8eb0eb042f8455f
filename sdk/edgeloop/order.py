"""What order statistics say of a median, without a word on the distribution."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["median_interval", "median_ranks"]

_EXACT_BELOW = 1000


def median_ranks(n: int, *, alpha: float = 0.05) -> tuple[int, int] | None:
    """The ranks (from 1) whose order statistics enclose the population's median in at least 1 - `alpha` of samples.

    They are symmetric, `(r, n + 1 - r)`: r is the largest with P(Bin(n, 1/2) < r) <= alpha / 2, exact under 1,000 and
    from the normal approximation beyond. None where even the extremes enclose it less often: at 5 %, under 6 values.

    Source: H. A. David and H. N. Nagaraja, "Order Statistics", 3rd ed., 2003, section 7.1.
    """
    if n < _EXACT_BELOW:
        rank, below, allowed = 0, 0, alpha / 2 * 2**n
        while below + math.comb(n, rank) <= allowed:
            below += math.comb(n, rank)
            rank += 1
    else:
        rank = math.floor((n - NormalDist().inv_cdf(1 - alpha / 2) * math.sqrt(n)) / 2)
    return (rank, n + 1 - rank) if rank else None


def median_interval(values: ArrayLike, *, alpha: float = 0.05) -> tuple[float, float] | None:
    """The 1 - `alpha` confidence interval of the median of independent `values` (n,), or None where n is too small."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    ranks = median_ranks(len(ordered), alpha=alpha)
    return None if ranks is None else (float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1]))
