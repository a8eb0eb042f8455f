"""Samples that two sets share, exactly or nearly: what a model has seen can't measure it.

Near-duplicates are found as Barz and Denzler ("Do we train on test data?", 2020) found them in CIFAR: by
nearest neighbours. Distances are taken between rows scaled to unit length, so that a change of brightness or
gain changes nothing; candidates come from a random projection (Johnson-Lindenstrauss) in blocks of a matrix
product, and are confirmed in full.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass

import numpy as np

from edgeloop_converters.data.dataset import Array, Dataset

__all__ = ["MIN_FEATURES", "Matches", "exact_matches", "near_matches"]

MIN_FEATURES = 16  # with fewer, neighbours come this close by chance
PROJECTED = 64
BLOCK = (1024, 8192)  # rows × rows of one product: 32 MB
WITHIN_SAMPLE = 2000
# Measured on scikit-learn's digits and on CIFAR-10: honest neighbours of digits start at 0.107, of CIFAR at
# 0.29, copies saved as JPEG of quality 95 end at 0.07, and half of those of quality 50 are past 0.17.
NEVER_BELOW, NEVER_ABOVE = 0.05, 0.25
# The share of the near end of honest distances. A table's columns all weigh the same, those with little in
# them too, so honest rows come closer: of the digits as 64 columns, 2 of 5 random splits had a pair under one
# half, none of 40 under a third.
NEAR_SHARE, NEAR_SHARE_TABLE = 1 / 2, 1 / 3


@dataclass(frozen=True, eq=False)
class Matches:
    """Rows of one set that another holds as well.

    Args:
        rows: (k,) int64 rows of the evaluation set, the closest first.
        partners: (k,) int64 the reference's row for each.
        within_rate: the share of the reference's rows that have such a partner in the reference itself.
        threshold: the distance under which rows match, 0 for exact ones.
    """

    rows: Array
    partners: Array
    within_rate: float
    threshold: float = 0.0


def exact_matches(reference: Dataset, evaluation: Dataset) -> Matches:
    """Rows of `evaluation` whose inputs all equal those of a row of `reference`."""
    dtypes = {n: np.result_type(a, evaluation.inputs[n]) for n, a in reference.inputs.items()}
    hashes = row_hashes(reference, dtypes)
    known = {key: i for i, key in reversed(list(enumerate(hashes)))}
    pairs = [(i, known[key]) for i, key in enumerate(row_hashes(evaluation, dtypes)) if key in known]
    rows, partners = np.array(pairs, np.int64).reshape(-1, 2).T
    repeats = Counter(hashes)
    return Matches(rows, partners, sum(c for c in repeats.values() if c > 1) / len(reference))


def row_hashes(dataset: Dataset, dtypes: dict[str, np.dtype[np.generic]]) -> list[bytes]:
    """One hash a row, over all inputs in `dtypes` so that 3 and 3.0 are the same."""
    digests = [hashlib.blake2b(digest_size=16) for _ in range(len(dataset))]
    for name in sorted(dtypes):
        for start in range(0, len(dataset), BLOCK[0]):
            block = np.ascontiguousarray(dataset.inputs[name][start : start + BLOCK[0]].astype(dtypes[name]))
            for digest, row in zip(digests[start:], block, strict=False):
                digest.update(row.tobytes())
    return [digest.digest() for digest in digests]


def near_matches(reference: Array, evaluation: Array, *, seed: int) -> Matches:
    """Rows of `evaluation` that are nearly a row of `reference`; exact ones are among them.

    Images and signals (rank 3 and more) are centred row by row; the columns of a table are standardised by
    the reference. The threshold is half (for tables a third) of the distance under which 1 % of the
    reference's rows have their nearest neighbour in the reference itself, but never below 0.05 or above 0.25
    (0 is the same, √2 unrelated).

    Args:
        reference: (n, …) numbers.
        evaluation: (m, …) numbers of the same shape.
        seed: of the projection.
    """
    rng = np.random.default_rng(seed)
    features = int(np.prod(reference.shape[1:]))
    if features < MIN_FEATURES:
        return Matches(np.empty(0, np.int64), np.empty(0, np.int64), 0.0)
    shift, scale = column_scale(reference)
    project = rng.standard_normal((features, min(PROJECTED, features))).astype(np.float32)
    project /= np.sqrt(np.float32(project.shape[1]))
    if project.shape[1] == features:
        project = np.eye(features, dtype=np.float32)
    low_reference = projected(reference, shift, scale, project)
    sample = np.sort(rng.permutation(len(reference))[:WITHIN_SAMPLE])
    within = nearest(low_reference[sample], low_reference, skip=sample)[0]
    share = NEAR_SHARE if shift is None else NEAR_SHARE_TABLE
    threshold = float(np.clip(share * np.quantile(within, 0.01), NEVER_BELOW, NEVER_ABOVE))
    low_evaluation = projected(evaluation, shift, scale, project)
    distance, partner = nearest(low_evaluation, low_reference)
    distance[~low_evaluation.any(axis=1)] = np.inf  # blank images are alike, and no copies
    candidates = np.flatnonzero(distance < 1.5 * threshold)  # the projection errs by some 10 %
    confirmed = np.array([
        np.linalg.norm(unit_rows(evaluation[i : i + 1], shift, scale) - unit_rows(reference[j : j + 1],
        shift, scale)) for i, j in zip(candidates, partner[candidates], strict=True)
    ])  # fmt: skip
    order = np.argsort(confirmed, kind="stable")
    order = order[confirmed[order] < threshold] if len(order) else order
    rows = candidates[order]
    return Matches(rows, partner[rows], float(np.mean(within < threshold)), threshold)


def column_scale(reference: Array) -> tuple[Array | None, Array | None]:
    """A table's column means and deviations; None for images and signals."""
    if reference.ndim > 2:
        return None, None
    deviation = reference.std(axis=0, dtype=np.float64)
    return reference.mean(axis=0, dtype=np.float64), np.where(deviation > 0, deviation, np.inf)


def unit_rows(x: Array, shift: Array | None, scale: Array | None) -> Array:
    """Rows as float32 of length 1; a row without any contrast stays 0."""
    rows = x.reshape(len(x), -1).astype(np.float32)
    if shift is None or scale is None:
        rows -= rows.mean(axis=1, keepdims=True)
    else:
        rows = ((rows - shift) / scale).astype(np.float32)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Array = np.divide(rows, length, out=np.zeros_like(rows), where=length > 1e-6)
    return unit


def projected(x: Array, shift: Array | None, scale: Array | None, project: Array) -> Array:
    """(n, k) float32, block by block, so that no float copy of the whole set is made."""
    blocks = [x[i : i + BLOCK[0]] for i in range(0, len(x), BLOCK[0])]
    return np.concatenate([unit_rows(b, shift, scale) @ project for b in blocks])


def nearest(queries: Array, points: Array, skip: Array | None = None) -> tuple[Array, Array]:
    """Each query's distance to its nearest point and that point's row; `skip` is the row to pass over."""
    best = np.full(len(queries), np.inf, np.float32)
    which = np.zeros(len(queries), np.int64)
    lengths = np.square(points).sum(axis=1)
    for i in range(0, len(queries), BLOCK[0]):
        query = queries[i : i + BLOCK[0]]
        own = np.square(query).sum(axis=1)[:, None]
        for j in range(0, len(points), BLOCK[1]):
            square = query @ points[j : j + BLOCK[1]].T
            square *= -2.0
            square += own
            square += lengths[j : j + BLOCK[1]]
            if skip is not None:
                mine = skip[i : i + BLOCK[0]] - j
                inside = np.flatnonzero((mine >= 0) & (mine < square.shape[1]))
                square[inside, mine[inside]] = np.inf
            closest = square.argmin(axis=1)
            value = square[np.arange(len(query)), closest]
            better = value < best[i : i + BLOCK[0]]
            best[i : i + BLOCK[0]][better] = value[better]
            which[i : i + BLOCK[0]][better] = closest[better] + j
    return np.sqrt(np.maximum(best, 0.0)), which
