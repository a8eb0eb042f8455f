"""What the metrics compute: pure functions of the truth and a model's outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from edgeloop.errors import DataError

__all__ = [
    "Array",
    "accuracy",
    "as_probabilities",
    "average_precision",
    "balanced_accuracy",
    "brier",
    "confusion_matrix",
    "log_loss",
    "macro_f1",
    "mean_absolute_error",
    "predicted_classes",
    "r2",
    "recall_at_false_alarms",
    "recall_by_class",
    "roc_auc",
    "root_mean_squared_error",
    "top_k_accuracy",
    "worst_recall",
]

Array = npt.NDArray[Any]

# The smallest probability that the log-loss believes: a quantized softmax answers plain zeros.
EPSILON = 1e-7
# By how much a row of probabilities may miss 1: an int8 softmax has steps of 1/256 in each class.
SUM_TOLERANCE = 0.05


def predicted_classes(outputs: Array) -> Array:
    """The class that a model answers, (n,) int64.

    Args:
        outputs: (n, k) scores, logits or probabilities, of which the largest counts (the first of equals);
            (n,) or (n, 1) float probabilities of class 1; or (n,) integer classes, as they are.
    """
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = outputs[:, 0]
    if outputs.ndim == 2:
        return np.asarray(outputs.argmax(axis=1), np.int64)
    if outputs.ndim != 1:
        raise DataError(f"a classifier's outputs must be (n, classes) or (n,); got {outputs.shape}")
    if outputs.dtype.kind in "iu":
        return outputs.astype(np.int64)
    return (outputs >= 0.5).astype(np.int64)


def as_probabilities(outputs: Array) -> Array:
    """Outputs as (n, k) float64 probabilities whose rows sum to 1.

    Raises:
        DataError: they are no probabilities: negative, above 1, or far from a sum of 1.
    """
    p = np.asarray(outputs, np.float64)
    if p.ndim == 2 and p.shape[1] == 1:
        p = p[:, 0]
    if p.ndim == 1:
        p = np.stack([1.0 - p, p], axis=1)
    if p.ndim != 2 or not np.isfinite(p).all() or p.min() < 0 or p.max() > 1 + SUM_TOLERANCE:
        raise DataError("the outputs aren't probabilities (negative, above 1, or NaN): apply softmax or sigmoid first")
    total = p.sum(axis=1, keepdims=True)
    if np.abs(total - 1).max() > SUM_TOLERANCE:
        raise DataError(
            f"the outputs' rows sum to {total.min():.3g} to {total.max():.3g}, not to 1: apply softmax first"
        )
    return np.asarray(p / total)


def confusion_matrix(y_true: Array, outputs: Array) -> Array:
    """(k, k) int64 counts, truth by row and answer by column; k covers both."""
    answer = predicted_classes(outputs)
    k = 1 + int(max(y_true.max(), answer.max(), outputs.shape[1] - 1 if outputs.ndim == 2 else 0))
    return np.bincount(y_true.astype(np.int64) * k + answer, minlength=k * k).reshape(k, k)


def accuracy(y_true: Array, outputs: Array) -> float:
    """The share of right answers."""
    return float(np.mean(predicted_classes(outputs) == y_true))


def top_k_accuracy(y_true: Array, outputs: Array, k: int) -> float:
    """The share of samples whose true class is among the `k` highest outputs; equals count against it."""
    if outputs.ndim != 2 or outputs.shape[1] < k:
        raise DataError(f"top-{k} accuracy needs outputs of at least {k} classes; got {outputs.shape}")
    own = outputs[np.arange(len(y_true)), y_true][:, None]
    return float(np.mean((outputs >= own).sum(axis=1) <= k))


def recall_by_class(y_true: Array, outputs: Array) -> Array:
    """(k,) float64, the share of each class that is recognised; NaN for a class that has no sample."""
    matrix = confusion_matrix(y_true, outputs)
    count = matrix.sum(axis=1)
    recall: Array = np.divide(np.diag(matrix), count, out=np.full(len(count), np.nan), where=count > 0)
    return recall


def balanced_accuracy(y_true: Array, outputs: Array) -> float:
    """The mean recall of the classes that have samples (Brodersen et al., 2010)."""
    return float(np.nanmean(recall_by_class(y_true, outputs)))


def worst_recall(y_true: Array, outputs: Array) -> float:
    """The recall of the class that is recognised worst."""
    return float(np.nanmin(recall_by_class(y_true, outputs)))


def macro_f1(y_true: Array, outputs: Array) -> float:
    """The mean F1 of the classes that are in the truth or in the answers."""
    matrix = confusion_matrix(y_true, outputs)
    both = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float(np.mean(2 * np.diag(matrix)[both > 0] / both[both > 0]))


def log_loss(y_true: Array, outputs: Array) -> float:
    """The mean negative log-likelihood of the truth in nats; probabilities below 1e-7 count as 1e-7."""
    p = as_probabilities(outputs)
    return float(-np.mean(np.log(np.maximum(p[np.arange(len(p)), y_true], EPSILON))))


def brier(y_true: Array, outputs: Array) -> float:
    """The mean squared distance of probabilities and truth, summed over classes (Brier, 1950): 0 to 2."""
    p = as_probabilities(outputs)
    return float(np.mean(np.square(p - np.eye(p.shape[1])[y_true]).sum(axis=1)))


def mean_absolute_error(y_true: Array, outputs: Array) -> float:
    """In the unit of `y`; the mean over outputs."""
    return float(np.mean(np.abs(residual(y_true, outputs))))


def root_mean_squared_error(y_true: Array, outputs: Array) -> float:
    """In the unit of `y`; one root over all outputs."""
    return float(np.sqrt(np.mean(np.square(residual(y_true, outputs)))))


def r2(y_true: Array, outputs: Array) -> float:
    """The coefficient of determination, the mean over outputs; 0 is the mean's, NaN if `y` is constant."""
    error = np.square(residual(y_true, outputs)).sum(axis=0)
    truth = y_true.reshape(len(y_true), -1)
    spread = np.square(truth - truth.mean(axis=0)).sum(axis=0)
    return float(np.mean(1 - np.divide(error, spread, out=np.full_like(error, np.nan), where=spread > 0)))


def residual(y_true: Array, outputs: Array) -> Array:
    truth = y_true.reshape(len(y_true), -1).astype(np.float64)
    answer = outputs.reshape(len(outputs), -1).astype(np.float64)
    if truth.shape != answer.shape:
        raise DataError(f"a regression's outputs must have y's shape {truth.shape}; got {answer.shape}")
    return np.asarray(answer - truth)


def roc_auc(y_true: Array, scores: Array) -> float:
    """The chance that an anomaly scores above a normal sample, equals counting half (Mann and Whitney, 1947).

    NaN when there is only one kind of sample.
    """
    anomaly, s = anomaly_scores(y_true, scores)
    positives, negatives = int(anomaly.sum()), int((~anomaly).sum())
    if positives == 0 or negatives == 0:
        return float("nan")
    _, inverse, counts = np.unique(s, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = mean_rank[inverse][anomaly].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def average_precision(y_true: Array, scores: Array) -> float:
    """The mean precision over the recalls, without interpolation; NaN when there is no anomaly."""
    false_alarms, hits = threshold_counts(y_true, scores)
    if hits[-1] == 0:
        return float("nan")
    precision = hits / (hits + false_alarms)
    return float(np.sum(np.diff(hits, prepend=0) * precision) / hits[-1])


def recall_at_false_alarms(y_true: Array, scores: Array, rate: float) -> float:
    """The share of anomalies found by a threshold with at most `rate` false alarms per normal sample.

    NaN when there is only one kind of sample.
    """
    false_alarms, hits = threshold_counts(y_true, scores)
    if hits[-1] == 0 or false_alarms[-1] == 0:
        return float("nan")
    allowed = hits[false_alarms <= rate * false_alarms[-1]]
    return float(allowed[-1] / hits[-1]) if len(allowed) else 0.0


def threshold_counts(y_true: Array, scores: Array) -> tuple[Array, Array]:
    """False alarms and hits at each distinct score as the threshold, the highest first."""
    anomaly, s = anomaly_scores(y_true, scores)
    order = np.argsort(-s, kind="stable")
    last = np.flatnonzero(np.append(np.diff(s[order]) != 0, True))
    return np.cumsum(~anomaly[order])[last], np.cumsum(anomaly[order])[last]


def anomaly_scores(y_true: Array, scores: Array) -> tuple[Array, Array]:
    s = scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 1 else scores
    if s.ndim != 1:
        raise DataError(f"anomaly scores must be (n,), the higher the more anomalous; got {scores.shape}")
    if not np.isin(y_true, (0, 1)).all():
        raise DataError("for anomaly scores y must be 0 (normal) and 1 (anomaly)")
    return y_true.astype(bool), s.astype(np.float64)
