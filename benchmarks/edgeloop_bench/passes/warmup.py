"""Calls until a model takes what it takes from then on: found from the times themselves, not a number of calls."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from edgeloop_bench.result import Warmup

__all__ = ["steady_from", "warm_up"]

BLOCK = 5
FIRST_CALLS, MOST_CALLS, MOST_S = 50, 12_800, 2.0


def steady_from(times_ns: ArrayLike) -> int | None:
    """The first call from which on the times (n,) are steady; None where they aren't yet.

    MSER-5: calls are taken in blocks of five, and the series is cut where the standard error of what is left is least.
    A cut in the later half says that the steady state hasn't been seen. Blocks count by the logarithm of their median,
    not by their mean: on a shared machine single calls take a hundred times as long, at any time.

    Source: K. P. White, "An Effective Truncation Heuristic for Bias Reduction in Simulation Output", Simulation 69(6),
    1997; S. C. Spratt, "Heuristics for the Startup Problem", 1998, for the blocks of five.
    """
    times = np.asarray(times_ns, dtype=np.float64)
    count = len(times) // BLOCK
    if count < 2:
        return None
    blocks = np.log(np.maximum(1.0, np.median(times[: count * BLOCK].reshape(count, BLOCK), axis=1)))
    cuts = np.arange(count - 1)
    errors = [blocks[cut:].var() / (count - cut) for cut in cuts]
    cut = int(np.argmin(errors))
    return cut * BLOCK if cut <= count / 2 else None


def warm_up(call: Callable[[], object], *, clock: Callable[[], int] = time.perf_counter_ns) -> tuple[Warmup, bool]:
    """Call until the times are steady, or 12,800 calls or two seconds have gone by.

    Args:
        call: the model, which has answered once.
        clock: monotonic nanoseconds.

    Returns:
        What was needed, and whether the times became steady.
    """
    times: list[int] = []
    start = clock()
    wanted = FIRST_CALLS
    while True:
        while len(times) < wanted and (len(times) < BLOCK or clock() - start < MOST_S * 1e9):
            before = clock()
            call()
            times.append(clock() - before)
        found = steady_from(times)
        if found is not None:
            return Warmup(found, sum(times[:found]) / 1e3), True
        if len(times) < wanted or wanted >= MOST_CALLS:
            return Warmup(len(times), sum(times) / 1e3), False
        wanted *= 2
