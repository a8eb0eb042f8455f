"""What the evaluation set shares with the data that the model has seen: samples, groups, times."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.data.dataset import Dataset
from edgeloop_converters.data.duplicates import Matches, exact_matches, near_matches
from edgeloop_converters.data.finding import EXAMPLES, Finding

__all__ = ["check_groups", "check_order", "check_shared"]


def check_shared(reference: Dataset, evaluation: Dataset, role: str, seed: int) -> Iterator[Finding]:
    """Samples of the evaluation set that the reference holds as well, exactly or nearly."""
    exact = exact_matches(reference, evaluation)
    if len(exact.rows):
        yield shared_finding("shared_samples", "the same as", exact, evaluation, role)
    if len(evaluation.inputs) > 1:
        return  # a near-copy of one of several inputs is no copy of the sample
    a, b = next(iter(reference.inputs.values())), next(iter(evaluation.inputs.values()))
    if a.dtype.kind == "f" and not (np.isfinite(a).all() and np.isfinite(b).all()):
        return  # `missing_values` says so
    near = near_matches(a, b, seed=seed)
    fresh = ~np.isin(near.rows, exact.rows)
    near = Matches(near.rows[fresh], near.partners[fresh], near.within_rate, near.threshold)
    if len(near.rows):
        yield shared_finding("near_duplicates", "nearly the same as", near, evaluation, role)


def shared_finding(code: str, how: str, found: Matches, evaluation: Dataset, role: str) -> Finding:
    share = len(found.rows) / len(evaluation)
    # A set that repeats itself as often as the two share rows does so by nature.
    natural = found.within_rate >= share / 2
    advice = (
        f"{found.within_rate:.1%} of the {role} samples are so among themselves: when these are bursts of "
        "one recording, split by recording (keep_apart=…); when the inputs just take few values, nothing "
        "is wrong"
        if natural
        else f"remove them from the {role} set or from this one, then measure again"
    )
    pairs = ", ".join(f"{i}={j}" for i, j in zip(found.rows[:3], found.partners[:3], strict=True))
    return Finding(
        code,
        "warning" if natural else "error",
        f"{evaluation.source}: {len(found.rows)} of {len(evaluation)} samples ({share:.1%}) are {how} "
        f"{role} samples (here={role}: {pairs}): {advice}",
        len(found.rows),
        tuple(int(i) for i in found.rows[:EXAMPLES]),
    )


def check_groups(reference: Dataset, evaluation: Dataset, role: str, keep_apart: Sequence[str]) -> Iterator[Finding]:
    """Values of a group column that are in both sets though they were to be kept apart."""
    for name in keep_apart:
        for d in (reference, evaluation):
            if name not in d.groups:
                raise DataError(f"{d.source}: no group column {name!r}; it has {', '.join(d.groups) or 'none'}")
        both = np.intersect1d(reference.groups[name], evaluation.groups[name])
        if len(both):
            rows = np.flatnonzero(np.isin(evaluation.groups[name], both))
            yield Finding(
                "shared_groups",
                "error",
                f"{evaluation.source}: {len(both)} values of {name!r} ({', '.join(map(str, both[:5]))}) are "
                f"in the {role} set too, with {len(rows)} samples here: split by {name!r}",
                len(rows),
                tuple(int(i) for i in rows[:EXAMPLES]),
            )


def check_order(reference: Dataset, evaluation: Dataset, role: str, seed: int) -> Iterator[Finding]:
    """Time-ordered data that was split at random: too many runs (Wald and Wolfowitz, 1940)."""
    if reference.order is None or evaluation.order is None:
        return
    here = np.r_[np.zeros(len(reference), bool), np.ones(len(evaluation), bool)]
    here = here[np.argsort(np.r_[reference.order, evaluation.order], kind="stable")]
    runs = 1 + int(np.sum(here[1:] != here[:-1]))
    expected = 1 + 2 * len(reference) * len(evaluation) / (len(reference) + len(evaluation))
    likeness = neighbour_likeness(reference, seed)
    if runs > 0.5 * expected and likeness < 0.9:
        yield Finding(
            "time_mixed",
            "error",
            f"{evaluation.source}: its samples lie between {role} samples in time ({runs} changes from one "
            f"set to the other, {expected:.0f} if split at random), and neighbours in time are alike "
            f"({likeness:.0%} of the distance of random pairs): split by time, the latest for evaluation",
            len(evaluation),
        )


def neighbour_likeness(dataset: Dataset, seed: int) -> float:
    """The mean distance of neighbours in time as a share of random pairs'; 1 where order means nothing."""
    if dataset.order is None or len(dataset) < 3:
        return 1.0
    rng = np.random.default_rng(seed)
    rank = np.argsort(dataset.order, kind="stable")
    at = np.sort(rng.permutation(len(rank) - 1)[:2000])
    ratios = []
    for a in dataset.inputs.values():
        if a.dtype.kind == "f" and not np.isfinite(a).all():
            continue  # `missing_values` says so
        flat = a.reshape(len(a), -1)
        mean, deviation = flat[rank[at]].mean(axis=0), flat[rank[at]].std(axis=0)
        z, following, other = (
            (flat[i] - mean) / np.where(deviation > 0, deviation, np.inf)
            for i in (rank[at], rank[at + 1], rank[rng.integers(0, len(rank), len(at))])
        )
        apart = np.abs(z - other).mean()
        ratios.append(np.abs(z - following).mean() / apart if apart > 0 else 1.0)
    return float(min(ratios, default=1.0))
