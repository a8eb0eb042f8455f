"""The sampler: picks inputs worth sending, and records the probability with which each was picked.

Poisson sampling with unequal probabilities: every input is picked by its own coin, whose bias grows with what can be
learnt from the input. Weighting by the inverse of that bias keeps estimates over the fleet unbiased (Horvitz and
Thompson, 1952), which "the ten most uncertain" would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import Baseline, output_features

__all__ = ["Budget", "Picks", "Reason", "novelty", "pick", "rarity", "uncertainty"]

Reason: TypeAlias = Literal["disagreement", "uncertain", "rare", "novel", "audit"]

_AUDIT_SHARE = 0.1  # of the budget is spread evenly, so that no input has probability 0 and the unexpected is seen


@dataclass(frozen=True)
class Picks:
    """What was picked of a batch: k rows' `indices` (k,), their `probabilities` (k,) in (0, 1], their `reasons`."""

    indices: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    reasons: tuple[Reason, ...]


class Budget:
    """A token bucket of bytes: `bytes_per_day` trickle in, up to an hour's worth is kept for a busy moment.

    It is never quite empty: the audit's share of what has trickled in since the last look may always be spent, since an
    input with no chance at all would be missing from every estimate. Over days no more is spent than trickles in.
    """

    def __init__(self, bytes_per_day: float, now_s: float) -> None:
        self._per_s = bytes_per_day / 86400
        self._limit = bytes_per_day / 24
        self._tokens = self._limit
        self._at_s = now_s

    def available(self, now_s: float) -> float:
        """How many bytes may be sent at `now_s`, a monotonic time in seconds."""
        income = self._per_s * max(0.0, now_s - self._at_s)
        self._tokens = min(self._limit, self._tokens + income)
        self._at_s = now_s
        return max(self._tokens, min(self._limit, income * _AUDIT_SHARE))

    def spend(self, size_bytes: int) -> None:
        """Take what was sent; the bucket may go below zero, by one batch at the most."""
        self._tokens -= size_bytes


def uncertainty(outputs: NDArray[np.float32]) -> NDArray[np.float64]:
    """How undecided a classifier was: its entropy over the highest possible, 0 … 1, (n,) for (n, classes)."""
    classes = max(2, outputs.shape[1])  # a single output is the probability of class 1
    entropy = output_features(outputs, classes)[:, 1]
    share = np.nan_to_num(entropy, nan=np.log(classes)).astype(np.float64) / np.log(classes)
    return np.asarray(np.clip(share, 0, 1))


def novelty(baseline: Baseline, x: NDArray[np.generic]) -> NDArray[np.float64]:
    """How far an input is from the training data: 0 … 1, (n,).

    The distance of each feature outside the outermost edges of the baseline, over the width between them, the largest
    of the features, d / (1 + d). A missing value counts as 1.
    """
    values = baseline.summarize(x)
    furthest = np.zeros(len(values))
    for feature, narrow in zip(baseline.inputs, values.T, strict=True):
        if not feature.edges:
            continue
        column = narrow.astype(np.float64)
        low, high = feature.edges[0], feature.edges[-1]
        width = max(high - low, abs(high) * 1e-6, 1e-12)
        outside = np.maximum(np.maximum(column - high, low - column), 0) / width
        furthest = np.maximum(furthest, np.nan_to_num(outside, nan=np.inf))
    return 1 - 1 / (1 + furthest)


def rarity(predicted: NDArray[np.int64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
    """How rare the predicted classes are on this device: 0 … 1, (n,).

    Args:
        predicted: (n,) classes.
        seen: (classes,) how often each was predicted before. A class that comes half as often as the average, or
            more often, has 0; one that never came is close to 1.
    """
    classes = len(seen)
    share = (seen + 1) / (seen.sum() + classes)
    return np.asarray(np.clip(1 - 2 * share * classes, 0, 1)[predicted])


def pick(
    scores: dict[Reason, NDArray[np.float64]],
    expected: float,
    rng: np.random.Generator,
    *,
    first: NDArray[np.bool_] | None = None,
) -> Picks:
    """Pick about `expected` of n rows, each by a coin of its own.

    Args:
        scores: for each reason (n,) scores ≥ 0 that can be compared with each other.
        expected: the expected number of picks; all rows are picked with probability 1 where it is n or more.
        rng: where the coins come from.
        first: (n,) those that take what they need of the budget before all others: disagreements with a shadow.
    """
    reasons: list[Reason] = list(scores)
    table = np.stack([scores[r] for r in reasons])
    n = table.shape[1]
    if n == 0 or expected <= 0:
        return Picks(np.empty(0, dtype=np.int64), np.empty(0), ())
    best = table.max(axis=0)
    even = expected * _AUDIT_SHARE / n
    left = expected * (1 - _AUDIT_SHARE)
    before = np.zeros(n)
    if first is not None and first.any():
        before[first] = min(1.0, left / first.sum())
        best = np.where(first, 0, best)
    by_score = before + _proportional(best, left - before.sum())
    probabilities = np.minimum(1.0, even + by_score)
    picked = np.flatnonzero(rng.random(n) < probabilities)
    why = table.argmax(axis=0)
    named: tuple[Reason, ...] = tuple(
        "disagreement" if before[i] else "audit" if by_score[i] <= even else reasons[why[i]] for i in picked.tolist()
    )
    return Picks(picked.astype(np.int64), probabilities[picked], named)


def _proportional(scores: NDArray[np.float64], expected: float) -> NDArray[np.float64]:
    """Probabilities proportional to `scores` that sum to `expected`, as far as none may pass 1."""
    probabilities = np.zeros(len(scores))
    open_rows = scores > 0
    while open_rows.any():
        left = expected - (~open_rows & (probabilities >= 1)).sum()
        share = left * scores / scores[open_rows].sum()
        full = open_rows & (share >= 1)
        if not full.any():
            probabilities[open_rows] = np.maximum(share[open_rows], 0)
            break
        probabilities[full] = 1
        open_rows &= ~full
    return probabilities
