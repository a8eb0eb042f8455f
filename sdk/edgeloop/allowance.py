"""How many of what was seen may be looked at, so that looking takes no more than its share of a processor. Pure.

A profile of 640 features costs more processor time than a small model's inference. Where there are more inferences than
the share pays for, a random part of them is looked at, each with the same known probability, so that nothing that is
estimated from them is biased.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Allowance", "draw"]

_BURST_S = 4.0  # of income are kept for a busy moment
_REMEMBERED = 0.8  # of what rows have cost, from batch to batch
_LEAST = 1 / 256  # so that no input is ever without a chance
_LEAST_ROWS = 64  # a batch costs something however few are looked at, so fewer batches are


class Allowance:
    """A token bucket of processor time, and what a row has cost lately.

    Args:
        share: of one processor, at most, in (0, 1].
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._tokens_s = 0.0  # the first batch is looked at on credit, since nobody knows what it costs
        self._at_s: float | None = None
        self._rows = self._cost_s = 0.0

    def affords(self, rows: int, now_s: float) -> float:
        """The part of `rows` that may be looked at, in (0, 1], at `now_s` of a clock that never jumps."""
        if self._at_s is not None:
            income_s = self._share * max(0.0, now_s - self._at_s)
            self._tokens_s = min(self._share * _BURST_S, self._tokens_s + income_s)
        self._at_s = now_s
        expected_s = rows * self._cost_s / self._rows if self._rows else 0.0
        return 1.0 if expected_s <= self._tokens_s else max(_LEAST, self._tokens_s / expected_s)

    def spend(self, rows: int, cpu_s: float) -> None:
        """Take what looking at so many rows has cost."""
        self._tokens_s -= cpu_s
        self._rows = self._rows * _REMEMBERED + rows
        self._cost_s = self._cost_s * _REMEMBERED + cpu_s


def draw(rows: int, part: float, rng: np.random.Generator) -> tuple[NDArray[np.intp], float]:
    """Choose about `part` of so many rows: their indices, ascending, and the probability that each of all rows had.

    A few rows of every batch would cost more than many rows of a few batches; so where `part` is small it is 64 rows or
    none, by a coin.
    """
    if part >= 1:
        return np.arange(rows), 1.0
    taken = min(rows, max(_LEAST_ROWS, int(part * rows)))
    chance = min(1.0, part * rows / taken)
    if rng.random() >= chance:
        taken_rows = np.empty(0, dtype=np.intp)
    else:
        taken_rows = np.sort(rng.choice(rows, taken, replace=False))
    return taken_rows, chance * taken / rows
