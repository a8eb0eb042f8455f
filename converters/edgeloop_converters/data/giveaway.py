"""Features that give the label away: one column alone tells it, and all the others together can't."""

from __future__ import annotations

import numpy as np

from edgeloop_converters.data.dataset import Array

__all__ = ["giveaway_features"]

ALONE = 0.99  # balanced accuracy of one feature that is too good
TOGETHER = 0.95  # … unless the others reach this too: then the task is easy
MAX_ROWS = 5000
MAX_OTHERS = 256
CHUNK = 256


def giveaway_features(x: Array, y: Array, *, seed: int) -> Array:
    """The columns of `x` that give `y` away, the best first.

    Each column alone answers, for the rows of one half, the class of the nearest value in the other half (the
    most likely one by class weight, where a value occurs often), and is judged by its balanced accuracy; both
    ways. The error of the nearest neighbour is at most twice the best possible (Cover and Hart, 1967). The
    others together are judged by a ridge classifier in the same halves.

    Args:
        x: (n, features) numbers.
        y: (n,) int64 class indices.
        seed: of the halving and of what is sampled where the set is large.

    Returns:
        (k,) int64 columns; none with fewer than 20 rows, with one column, or where the others tell as well.
    """
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(x))[:MAX_ROWS]
    if len(rows) < 20 or x.shape[1] < 2:
        return np.empty(0, np.int64)
    classes, y = np.unique(y[rows], return_inverse=True)
    halves = np.array_split(np.arange(len(rows)), 2)
    folds = [(halves[0], halves[1]), (halves[1], halves[0])]
    score = np.zeros(x.shape[1])
    for start in range(0, x.shape[1], CHUNK):
        block = x[rows, start : start + CHUNK].astype(np.float64)
        for i in range(block.shape[1]):
            score[start + i] = np.mean([nearest_score(block[:, i], y, len(classes), *fold) for fold in folds])
    suspects = np.flatnonzero(score >= ALONE)
    suspects = suspects[np.argsort(-score[suspects], kind="stable")]
    others = np.setdiff1d(np.arange(x.shape[1]), suspects)
    if len(suspects) == 0 or len(others) == 0:
        return np.empty(0, np.int64)
    others = rng.permutation(others)[:MAX_OTHERS]
    table = x[np.ix_(rows, others)].astype(np.float64)
    together = np.mean([ridge_score(table, y, len(classes), *fold) for fold in folds])
    return suspects if together < TOGETHER else np.empty(0, np.int64)


def nearest_score(column: Array, y: Array, n_classes: int, fit: Array, test: Array) -> float:
    values, which = np.unique(column[fit], return_inverse=True)
    counts = np.zeros((len(values), n_classes))
    np.add.at(counts, (which, y[fit]), 1)
    answer = (counts / np.maximum(counts.sum(axis=0), 1)).argmax(axis=1)
    middle = (values[1:] + values[:-1]) / 2
    return balanced(answer[np.searchsorted(middle, column[test])], y[test], n_classes)


def ridge_score(table: Array, y: Array, n_classes: int, fit: Array, test: Array) -> float:
    deviation = table[fit].std(axis=0)
    z = np.divide(table - table[fit].mean(axis=0), deviation, out=np.zeros_like(table), where=deviation > 0)
    z = np.column_stack([z, np.ones(len(z))])
    weight = 1.0 / np.maximum(np.bincount(y[fit], minlength=n_classes), 1)[y[fit], None]
    target = np.eye(n_classes)[y[fit]] - 1.0 / n_classes
    gram = z[fit].T @ (z[fit] * weight) + 1e-3 * np.eye(z.shape[1])
    return balanced((z[test] @ np.linalg.solve(gram, z[fit].T @ (target * weight))).argmax(axis=1), y[test], n_classes)


def balanced(answer: Array, y: Array, n_classes: int) -> float:
    right = np.bincount(y, weights=answer == y, minlength=n_classes)
    counts = np.bincount(y, minlength=n_classes)
    return float(np.mean(right[counts > 0] / counts[counts > 0]))
