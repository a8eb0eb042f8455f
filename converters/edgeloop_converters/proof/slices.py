"""A metric by slice of the data (class, site, quantile), and whether the largest gap is more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.proof.compare import resamples
from edgeloop_converters.proof.metrics import Metric
from edgeloop_converters.proof.scores import Array

__all__ = ["Slice", "SliceReport", "SliceRow", "compare_slices", "slice_by_column", "slice_by_quantile"]

MIN_SIZE = 30
RESAMPLES = 500


@dataclass(frozen=True, eq=False)
class Slice:
    """Some of the samples.

    Args:
        name: as a report shows it: "site=north".
        rows: (k,) int64 rows.
    """

    name: str
    rows: Array


@dataclass(frozen=True)
class SliceRow:
    """The metric on one slice, with its own bootstrap interval."""

    name: str
    n: int
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceReport:
    """The metric on all slices.

    Args:
        metric: its name.
        rows: the slices, the worst first.
        too_small: names and sizes of those that were left out.
        best: the slice with the best value.
        worst: the slice with the worst.
        gap: by how much they differ, 0 or more.
        gap_low: the lower end of its interval, corrected for the number of pairs.
        gap_high: the upper end.
        confidence: the level that holds over all pairs together.
        p_value: the share of random slicings of the same sizes with a gap as large.
        significant: whether `p_value` is below 1 - `confidence`.
        note: what was corrected for, in a sentence.
    """

    metric: str
    rows: tuple[SliceRow, ...]
    too_small: tuple[tuple[str, int], ...]
    best: str
    worst: str
    gap: float
    gap_low: float
    gap_high: float
    confidence: float
    p_value: float
    significant: bool
    note: str


def slice_by_column(values: Array, name: str, labels: Sequence[str] | None = None) -> tuple[Slice, ...]:
    """One slice for each value of a column; `labels` name the values when they are class indices."""
    found, which = np.unique(values, return_inverse=True)
    return tuple(
        Slice(f"{name}={labels[int(value)] if labels is not None else value}", np.flatnonzero(which == i))
        for i, value in enumerate(found)
    )


def slice_by_quantile(values: Array, name: str, count: int = 4) -> tuple[Slice, ...]:
    """`count` slices of equal size by a feature's value, fewer where values repeat; NaNs are one more."""
    missing = np.flatnonzero(np.isnan(values))
    rows = np.flatnonzero(~np.isnan(values))
    extra = (Slice(f"{name} missing", missing),) if len(missing) else ()
    cuts = np.linspace(0, 1, count + 1)
    edges = np.unique(np.quantile(values[rows], cuts)) if len(rows) else np.empty(0)
    if len(edges) < 3:
        return (*(Slice(s.name, rows[s.rows]) for s in slice_by_column(values[rows], name)), *extra)
    where = np.clip(np.searchsorted(edges, values[rows], side="right") - 1, 0, len(edges) - 2)
    names = [f"{name} {low:.4g} to {high:.4g}" for low, high in pairwise(edges)]
    return (*(Slice(shown, rows[where == i]) for i, shown in enumerate(names)), *extra)


def compare_slices(
    metric: Metric,
    y_true: Array,
    outputs: Array,
    slices: Sequence[Slice],
    *,
    seed: int,
    min_size: int = MIN_SIZE,
    confidence: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> SliceReport:
    """The metric by slice, and the largest gap between two of them.

    The largest of many gaps is large by chance. So its interval is that of a bootstrap with the Bonferroni
    correction over all pairs (normal approximation: the corrected tails are too thin for percentiles), and
    its p-value is that of a permutation test of the largest gap itself, which needs no correction.

    Args:
        metric: what to compute; use one that is defined within a slice (accuracy within a class, not AUC).
        y_true: (n,) truth.
        outputs: (n, …) what the model answers.
        slices: disjoint ones for the p-value to hold.
        seed: of the resampling.
        min_size: slices with fewer samples are named, not judged.
        confidence: the level over all pairs together.
        n_resamples: of the bootstrap and of the permutations, each.

    Raises:
        DataError: fewer than two slices are large enough and defined.
    """
    kept = [s for s in slices if len(s.rows) >= min_size and math.isfinite(metric(y_true[s.rows], outputs[s.rows]))]
    left_out = tuple((s.name, len(s.rows)) for s in slices if s not in kept)
    if len(kept) < 2:
        raise DataError(
            f"{metric.name} by slice needs two slices of {min_size} samples or more on which it is defined; "
            f"there are {len(kept)} (left out: "
            f"{', '.join(f'{name} ({n})' for name, n in left_out[:5]) or 'none'})"
        )
    values = np.array([metric(y_true[s.rows], outputs[s.rows]) for s in kept])
    drawn = np.array([
        [metric(y_true[s.rows[i]], outputs[s.rows[i]]) for i in resamples(metric, y_true[s.rows],
        n_resamples, seed + k)] for k, s in enumerate(kept)
    ])  # fmt: skip
    tail = (1 - confidence) / 2
    lows, highs = np.nanquantile(drawn, [tail, 1 - tail], axis=1)
    order = np.argsort(values if metric.higher_is_better else -values, kind="stable")
    rows = tuple(SliceRow(kept[i].name, len(kept[i].rows), *map(float, (values[i], lows[i], highs[i]))) for i in order)
    worst, best = int(order[0]), int(order[-1])
    gap = abs(float(values[best] - values[worst]))
    pairs = len(kept) * (len(kept) - 1) // 2
    reach = NormalDist().inv_cdf(1 - tail / pairs) * float(np.nanstd(drawn[best] - drawn[worst]))
    p_value = permuted_gap_p(metric, y_true, outputs, kept, gap, seed, n_resamples)
    note = (
        f"the largest of {pairs} gaps between {len(kept)} slices: its interval is Bonferroni-corrected for "
        f"{pairs} pairs, its p-value is from {n_resamples} random slicings of the same sizes"
    )
    return SliceReport(
        metric.name, rows, left_out, kept[best].name, kept[worst].name, gap, max(0.0, gap - reach), gap +
        reach, confidence, p_value, p_value < 1 - confidence, note,
    )  # fmt: skip


def permuted_gap_p(
    metric: Metric, y_true: Array, outputs: Array, slices: Sequence[Slice], gap: float, seed: int, count: int
) -> float:
    """The share of random slicings of the same sizes, this one included, whose largest gap is as large."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([s.rows for s in slices])
    ends = np.cumsum([len(s.rows) for s in slices])[:-1]
    reached = 1
    for _ in range(count):
        parts = np.split(rng.permutation(rows), ends)
        values = [metric(y_true[p], outputs[p]) for p in parts]
        reached += bool(np.nanmax(values) - np.nanmin(values) >= gap - 1e-12)
    return reached / (count + 1)
