"""Picking the samples that set a quantized model's ranges, and checking that another draw gives the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeloop.errors import ConfigError
from edgeloop_converters.data.dataset import Array, Dataset, Inputs, hash_arrays, input_arrays, take_rows
from edgeloop_converters.data.finding import Finding

__all__ = ["CalibrationSet", "check_stability", "pick_calibration"]

# A sample is set aside when a summary of it lies this far out, in robust standard deviations (Iglewicz and
# Hoaglin, 1993, propose 3.5 for normal data; sensor data has heavier tails, and its range is what we are
# after).
OUTLIER_Z = 6.0
# More than this isn't outliers but the distribution, so only the farthest of them are set aside.
MAX_OUTLIER_SHARE = 0.02
VALUE_STRATA = 10
SUMMARIES = (np.mean, np.std, np.min, np.max)
BLOCK = 1024


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """The samples that calibrate a quantized model.

    Args:
        indices: (n,) int64 rows of the data set, ascending.
        x: these rows of the inputs, in the data set's own dtype.
        sha256: the hash of `x`, for the manifest.
        method: how they were picked, in a sentence.
        ranges: for each input the (lowest, highest) value among them.
        outliers: (k,) int64 rows that were set aside.
    """

    indices: Array
    x: Inputs
    sha256: str
    method: str
    ranges: dict[str, tuple[float, float]]
    outliers: Array

    def __len__(self) -> int:
        return len(self.indices)


def pick_calibration(dataset: Dataset, *, n: int = 200, seed: int) -> CalibrationSet:
    """Pick `n` samples that are balanced by class, cover the range, and hold no outliers.

    Outliers are samples whose mean, deviation, minimum or maximum is more than 6 robust standard deviations
    (median and MAD; Iglewicz and Hoaglin, 1993) from the median, at most 2 % of the set. Of each class's
    share, half are chosen farthest-first in those four summaries (Gonzalez, 1985), which spans the range,
    and half at random, which keeps the density. Values to predict are cut into ten strata of equal size.

    Args:
        dataset: what to pick from; of the training data, not of what the model is judged on.
        n: how many; a smaller set is taken whole, but for its outliers.
        seed: of the random half.

    Raises:
        ConfigError: `n` is less than 1.
    """
    if n < 1:
        raise ConfigError(f"calibration needs at least 1 sample, got n={n}")
    return pick_among(dataset, summarize(dataset), np.arange(len(dataset)), n, np.random.default_rng(seed))


def check_stability(dataset: Dataset, *, n: int = 200, seed: int, tolerance: float = 0.1) -> tuple[Finding, ...]:
    """Whether two disjoint calibration sets, one from each random half of the data, give the same ranges.

    Args:
        dataset: what is picked from; a set of fewer than 2 n samples gives two halves of what there is.
        n: samples in each.
        seed: of the halving and the picks.
        tolerance: by how much an end of a range may move, as a share of the wider range.
    """
    rng = np.random.default_rng(seed)
    summary = summarize(dataset)
    halves = [half for half in np.array_split(rng.permutation(len(dataset)), 2) if len(half)]
    if len(halves) < 2:
        return ()
    first, second = (pick_among(dataset, summary, np.sort(half), n, rng) for half in halves)
    findings = []
    for name, (low, high) in first.ranges.items():
        other_low, other_high = second.ranges[name]
        width = max(high - low, other_high - other_low)
        moved = max(abs(high - other_high), abs(low - other_low))
        if moved > tolerance * width:
            findings.append(
                Finding(
                    "calibration_unstable",
                    "warning",
                    f"input {name!r} of {dataset.source}: two disjoint calibration sets of {len(first)} and "
                    f"{len(second)} samples give ranges [{low:.4g}, {high:.4g}] and [{other_low:.4g}, "
                    f"{other_high:.4g}], {moved / width:.0%} apart: take more samples, or clip or scale "
                    "this input",
                    1,
                )
            )
    return tuple(findings)


def pick_among(dataset: Dataset, summary: Array, rows: Array, n: int, rng: np.random.Generator) -> CalibrationSet:
    """A calibration set from these rows alone."""
    far = outliers_of(summary[rows])
    kept = rows[~far]
    strata = strata_of(dataset, kept)
    picked: list[Array] = []
    for stratum, share in zip(strata, fair_shares([len(s) for s in strata], n), strict=True):
        picked.append(pick_spread(stratum, summary, share, rng))
    indices = np.sort(np.concatenate(picked)).astype(np.int64)
    x = take_rows(dataset.x, indices)
    by = "class" if dataset.is_classification else "value" if dataset.y is not None else "nothing (no labels)"
    method = (
        f"{len(indices)} of {len(rows)} samples, balanced by {by} over {len(strata)} strata, half "
        f"farthest-first in (mean, deviation, min, max), half at random; {int(far.sum())} outliers over "
        f"{OUTLIER_Z:g} robust deviations set aside"
    )
    ranges = {name: (float(a.min()), float(a.max())) for name, a in input_arrays(x).items()}
    return CalibrationSet(indices, x, hash_arrays(input_arrays(x)), method, ranges, rows[far])


def summarize(dataset: Dataset) -> Array:
    """(n, 4 × inputs) float64: each sample's mean, deviation, minimum and maximum, in robust deviations.

    The columns of a table are scaled one by one first: they have different units.
    """
    parts = []
    for a in dataset.inputs.values():
        rows = robust_z(a.astype(np.float64)) if a.ndim == 2 else a.reshape(len(a), -1)
        # In blocks: numpy makes float64 copies on the way, eight times the size of an image set.
        blocks = (rows[i : i + BLOCK].astype(np.float64) for i in range(0, len(rows), BLOCK))
        parts.append(np.concatenate([np.stack([f(b, axis=1) for f in SUMMARIES], axis=1) for b in blocks]))
    return robust_z(np.concatenate(parts, axis=1))


def robust_z(values: Array) -> Array:
    """Each column's distance from its median in robust deviations; 0 where half of the values are the same.

    Where the MAD is 0 (most images reach 255), the column says nothing about outliers.
    """
    centred = values - np.median(values, axis=0)
    mad = 1.4826 * np.median(np.abs(centred), axis=0)
    z: Array = np.divide(centred, mad, out=np.zeros_like(centred), where=mad > 0)
    return z


def outliers_of(summary: Array) -> Array:
    """(n,) bool: the farthest samples beyond `OUTLIER_Z`, at most `MAX_OUTLIER_SHARE` of them."""
    distance = np.abs(summary).max(axis=1)
    far = distance > OUTLIER_Z
    most = int(MAX_OUTLIER_SHARE * len(distance))
    if far.sum() > most:
        keep = np.zeros(len(far), bool)
        keep[np.argsort(-distance, kind="stable")[:most]] = True
        far &= keep
    return np.asarray(far)


def strata_of(dataset: Dataset, rows: Array) -> list[Array]:
    if dataset.y is None:
        return [rows]
    if dataset.is_classification:
        return [rows[dataset.y[rows] == c] for c in np.unique(dataset.y[rows])]
    value = dataset.y[rows].reshape(len(rows), -1).mean(axis=1)
    parts = np.array_split(rows[np.argsort(value, kind="stable")], VALUE_STRATA)
    return [p for p in parts if len(p)]


def fair_shares(sizes: list[int], n: int) -> list[int]:
    """How many of `n` each stratum gives: as equal as the sizes allow."""
    shares = [0] * len(sizes)
    left = min(n, sum(sizes))
    for done, i in enumerate(sorted(range(len(sizes)), key=sizes.__getitem__)):  # the small ones first
        shares[i] = min(sizes[i], left // (len(sizes) - done))
        left -= shares[i]
    return shares


def pick_spread(rows: Array, summary: Array, share: int, rng: np.random.Generator) -> Array:
    """`share` of the rows: the first half farthest-first from the median sample, the others at random."""
    points = np.clip(summary[rows], -OUTLIER_Z, OUTLIER_Z)
    start = int(np.argmin(np.square(points - np.median(points, axis=0)).sum(axis=1)))
    chosen: list[int] = []
    nearest = np.full(len(rows), np.inf)
    following = start
    for _ in range((share + 1) // 2):
        chosen.append(following)
        nearest = np.minimum(nearest, np.square(points - points[following]).sum(axis=1))
        nearest[chosen] = -1.0  # samples with the same summary as a chosen one may follow, itself may not
        following = int(np.argmax(nearest))
    rest = np.setdiff1d(np.arange(len(rows)), chosen)
    return rows[np.concatenate([chosen, rng.choice(rest, share - len(chosen), replace=False)]).astype(np.int64)]
