"""A metric with its interval, and the artifact's against the original's on the same samples."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgeloop.errors import DataError
from edgeloop_converters.proof.metrics import Metric
from edgeloop_converters.proof.scores import Array, predicted_classes

__all__ = ["Comparison", "Measurement", "compare", "mcnemar_p", "measure", "resamples"]

RESAMPLES = 1000


@dataclass(frozen=True)
class Measurement:
    """A metric on one set of outputs.

    Args:
        metric: its name.
        value: the point estimate.
        low: the lower end of the percentile bootstrap interval (Efron, 1979).
        high: the upper end.
        confidence: the interval's level.
        trivial: what an answer that ignores the input reaches.
        over_trivial: by how much `value` is better than that, positive when it is.
        n: the number of samples.
    """

    metric: str
    value: float
    low: float
    high: float
    confidence: float
    trivial: float
    over_trivial: float
    n: int


@dataclass(frozen=True)
class Comparison:
    """The artifact's metric against the original's, on the same samples.

    Args:
        metric: its name.
        original: the original's value.
        artifact: the artifact's value.
        drop: by how much the artifact is worse, in the metric's unit, whatever its direction; negative when
            it is better.
        low: the lower end of the paired bootstrap interval of `drop`.
        high: the upper end.
        confidence: the interval's level.
        n: the number of samples.
        mcnemar_p: for classification, the exact p-value that both err equally often.
        agreement: for classification, the share of samples on which both answer the same.
    """

    metric: str
    original: float
    artifact: float
    drop: float
    low: float
    high: float
    confidence: float
    n: int
    mcnemar_p: float | None = None
    agreement: float | None = None


def measure(
    metric: Metric,
    y_true: Array,
    outputs: Array,
    *,
    seed: int,
    confidence: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> Measurement:
    """A metric with its bootstrap interval and the trivial answer beside it.

    Args:
        metric: what to compute.
        y_true: (n,) truth.
        outputs: (n, …) what the model answers.
        seed: of the resampling.
        confidence: the interval's level.
        n_resamples: how many times to resample.

    Raises:
        DataError: the metric isn't defined on these samples.
    """
    value = defined(metric, y_true, outputs)
    drawn = [metric(y_true[i], outputs[i]) for i in resamples(metric, y_true, n_resamples, seed)]
    low, high = interval(np.array(drawn), confidence)
    trivial = metric.trivial(y_true, outputs, seed=seed)
    better = value - trivial if metric.higher_is_better else trivial - value
    return Measurement(metric.name, value, low, high, confidence, trivial, better, len(y_true))


def compare(
    metric: Metric,
    y_true: Array,
    original: Array,
    artifact: Array,
    *,
    seed: int,
    confidence: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> Comparison:
    """The drop from the original's outputs to the artifact's, with its paired bootstrap interval.

    Paired, because both are measured on the same samples: the interval is that of the difference, which is
    far narrower than the two intervals apart.

    Args:
        metric: what to compute.
        y_true: (n,) truth.
        original: (n, …) the original model's outputs.
        artifact: (n, …) the artifact's outputs.
        seed: of the resampling.
        confidence: the interval's level.
        n_resamples: how many times to resample.

    Raises:
        DataError: the metric isn't defined on these samples.
    """
    before, after = defined(metric, y_true, original), defined(metric, y_true, artifact)
    sign = 1.0 if metric.higher_is_better else -1.0
    drops = [
        sign * (metric(y_true[i], original[i]) - metric(y_true[i], artifact[i]))
        for i in resamples(metric, y_true, n_resamples, seed)
    ]
    low, high = interval(np.array(drops), confidence)
    found = Comparison(metric.name, before, after, sign * (before - after), low, high, confidence, len(y_true))
    if metric.task != "classification":
        return found
    answers = predicted_classes(original), predicted_classes(artifact)
    p = mcnemar_p(answers[0] == y_true, answers[1] == y_true)
    return Comparison(**{**vars(found), "mcnemar_p": p, "agreement": float(np.mean(answers[0] == answers[1]))})


def mcnemar_p(first_right: Array, second_right: Array) -> float:
    """The exact two-sided p-value of McNemar's test (1947): do both err equally often?

    Args:
        first_right: (n,) bool, whether the first is right.
        second_right: (n,) bool, whether the second is right.
    """
    only_first = int(np.sum(first_right & ~second_right))
    only_second = int(np.sum(second_right & ~first_right))
    n, least = only_first + only_second, min(only_first, only_second)
    logs = [math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) for i in range(least + 1)]
    return min(1.0, 2.0 * math.fsum(math.exp(v - n * math.log(2)) for v in logs))


def resamples(metric: Metric, y_true: Array, count: int, seed: int) -> Iterator[Array]:
    """Rows drawn with replacement, `count` times; within each class where the metric needs every class."""
    rng = np.random.default_rng(seed)
    strata = [np.arange(len(y_true))]
    if metric.needs_every_class:
        strata = [np.flatnonzero(y_true == c) for c in np.unique(y_true)]
    for _ in range(count):
        yield np.concatenate([s[rng.integers(0, len(s), len(s))] for s in strata])


def defined(metric: Metric, y_true: Array, outputs: Array) -> float:
    value = metric(y_true, outputs)
    if not math.isfinite(value):
        raise DataError(
            f"{metric.name} isn't defined on these {len(y_true)} samples (it is {value}): only one kind of "
            "label, or outputs that are infinite?"
        )
    return value


def interval(drawn: Array, confidence: float) -> tuple[float, float]:
    tail = (1.0 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1.0 - tail])
    return float(low), float(high)
