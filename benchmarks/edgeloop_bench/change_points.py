"""Where a series of figures began to be another: change points, at a stated rate of false alarms."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ALPHA", "LEAST_CHANGE", "LEAST_RUNS", "ChangePoint", "change_points", "critical_value"]

ALPHA = 0.01
"""Of series of pure noise, the share in which a change is seen."""
LEAST_CHANGE = 0.01
"""Less isn't told: where a model's tensors come to lie in memory moves its speed by as much (see `subject`)."""
LEAST_RUNS = 3
"""On each side of a change."""

_FEWEST = 10
_SIZES = (10, 11, 12, 13, 14, 15, 16, 17, 18, 20, 22, 25, 30, 40, 50, 70, 100, 150, 200, 300, 500, 700, 1000)
# At `_SIZES`, the statistic that a share of ALPHA of the permutations exceeds: `critical_value(n, ALPHA, trials=20_000,
# rng=np.random.default_rng(0))` (5,000 beyond 200); `tests/benchmarks/test_change_points.py` draws some again. Rounded
# up: the statistic has few values in short series, and each must not be beyond itself.
_CRITICAL = (
    2.559, 2.646, 2.718, 2.778, 2.829, 2.829, 2.883, 3.001, 3.001, 3.1, 3.14, 3.185,
    3.278, 3.457, 3.559, 3.692, 3.845, 3.979, 4.079, 4.229, 4.302, 4.47, 4.544,
)  # fmt: skip


@dataclass(frozen=True)
class ChangePoint:
    """A change of level.

    Args:
        index: the first run of the new level.
        before: the median from the last change, or the start, to this one.
        after: the median from here to the next one, or the end.
    """

    index: int
    before: float
    after: float

    @property
    def ratio(self) -> float:
        """`after` to `before`."""
        return self.after / self.before


def change_points(values: ArrayLike) -> tuple[ChangePoint, ...]:
    """The changes of level in a series of positive `values` (n,), oldest first; none in fewer than 10.

    On seeded intervals of all lengths the Mann-Whitney statistic of every split is taken, standardized; of the
    intervals in which its maximum is beyond the critical value of n, the narrowest is split there, and what doesn't
    contain that split goes on. Only ranks count, so that an outlier is one rank and no unit or distribution matters,
    and under no change every order of the values is as likely as any other: critical values are drawn from
    permutations, and hold for all intervals and splits together. Runs that depend on their neighbours (a machine that
    is slow for an afternoon) are no such noise, and will be seen as changes.

    Sources: D. M. Hawkins and Q. Deng, "A Nonparametric Change-Point Control Chart", Journal of Quality Technology
    42(2), 2010 (the statistic); S. Kovács, P. Bühlmann, H. Li and A. Munk, "Seeded binary segmentation", Biometrika
    110(1), 2023 (the intervals); R. Baranowski, Y. Chen and P. Fryzlewicz, "Narrowest-over-threshold detection", JRSS B
    81(3), 2019 (the choice).
    """
    series = np.asarray(values, dtype=np.float64)
    n = len(series)
    if n < _FEWEST:
        return ()
    splits = _settled(series, _narrowest_first(series, _critical(n)))
    edges = [0, *splits, n]
    medians = [float(np.median(series[a:b])) for a, b in pairwise(edges)]
    return tuple(ChangePoint(at, medians[i], medians[i + 1]) for i, at in enumerate(splits))


def critical_value(n: int, alpha: float, *, trials: int, rng: np.random.Generator) -> float:
    """What the largest statistic of a series of n values without a change exceeds with probability `alpha`."""
    orders = rng.permuted(np.tile(np.arange(n, dtype=np.float64), (trials, 1)), axis=1)
    largest = np.zeros(trials)
    for a, b in _intervals(n):
        largest = np.maximum(largest, _statistics(orders[:, a:b]).max(axis=1))
    return float(np.quantile(largest, 1 - alpha, method="inverted_cdf"))


def _critical(n: int) -> float:
    """Beyond the largest size it grows as the maximum of ever more normal values does."""
    if n > _SIZES[-1]:
        return _CRITICAL[-1] + float(np.sqrt(2 * np.log(n)) - np.sqrt(2 * np.log(_SIZES[-1])))
    return float(np.interp(np.log(n), np.log(_SIZES), _CRITICAL))


def _intervals(n: int) -> list[tuple[int, int]]:
    """The whole, then ever shorter ones by √2, each a quarter of its length further on than the one before."""
    found = {(0, n): None}
    length = n / np.sqrt(2)
    while length >= _FEWEST:
        count = int(np.ceil(4 * (n - length) / length)) + 1
        for start in np.linspace(0, n - length, count):
            found[int(np.floor(start)), int(np.ceil(start + length))] = None
        length /= np.sqrt(2)
    return list(found)


def _statistics(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """|z| of Mann and Whitney for the splits of each row (m, n) that leave enough on both sides, (m, n + 1 - 2 · 3)."""
    n = rows.shape[1]
    left = np.arange(LEAST_RUNS, n - LEAST_RUNS + 1)
    sums = np.cumsum(_ranks(rows), axis=1)[:, left - 1]
    deviation = np.sqrt(left * (n - left) * (n + 1) / 12)
    result: NDArray[np.float64] = np.abs(sums - left * (n + 1) / 2) / deviation
    return result


def _ranks(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 1, along each row; equal values share the mean of theirs, which makes the test no less strict."""
    ordered = np.sort(rows, axis=1)
    if not (ordered[:, 1:] == ordered[:, :-1]).any():
        return (np.argsort(np.argsort(rows, axis=1), axis=1) + 1).astype(np.float64)
    ranks = np.empty_like(rows)
    for i, row in enumerate(rows):
        low = np.searchsorted(ordered[i], row, side="left")
        ranks[i] = (low + np.searchsorted(ordered[i], row, side="right") + 1) / 2
    return ranks


def _narrowest_first(series: NDArray[np.float64], critical: float) -> list[int]:
    found = []
    for a, b in _intervals(len(series)):
        statistics = _statistics(series[None, a:b])[0]
        at = int(statistics.argmax())
        if statistics[at] > critical:
            found.append((b - a, -statistics[at], a, b, a + LEAST_RUNS + at))
    splits: list[int] = []
    for _, _, a, b, at in sorted(found):
        if not any(a < other < b for other in splits):
            splits.append(at)
    return sorted(splits)


def _settled(series: NDArray[np.float64], splits: list[int]) -> list[int]:
    """Each moved to the best split between its neighbours; those by too little are left out, the least first."""
    while splits:
        for i in range(len(splits)):
            a, b = ([0, *splits, len(series)][i], [0, *splits, len(series)][i + 2])
            if b - a >= 2 * LEAST_RUNS:
                splits[i] = a + LEAST_RUNS + int(_statistics(series[None, a:b])[0].argmax())
        edges = [0, *splits, len(series)]
        logs = [float(np.log(np.median(series[a:b]))) for a, b in pairwise(edges)]
        steps = np.abs(np.diff(logs))
        least = int(steps.argmin())
        if steps[least] >= np.log1p(LEAST_CHANGE):
            break
        del splits[least]
    return splits
