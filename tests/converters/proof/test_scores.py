"""scikit-learn is the reference: what it computes, we compute."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn import metrics as reference

from edgeloop.errors import DataError
from edgeloop_converters.proof import scores


def outputs(seed: int, n: int = 300, k: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    logits = rng.normal(size=(n, k)) + 1.5 * np.eye(k)[y]
    p = np.exp(logits)
    return y, p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(5))
def test_classification_agrees_with_scikit_learn(seed: int) -> None:
    y, p = outputs(seed)
    answer = p.argmax(axis=1)
    assert scores.accuracy(y, p) == pytest.approx(reference.accuracy_score(y, answer))
    assert scores.balanced_accuracy(y, p) == pytest.approx(reference.balanced_accuracy_score(y, answer))
    assert scores.macro_f1(y, p) == pytest.approx(reference.f1_score(y, answer, average="macro"))
    assert scores.log_loss(y, p) == pytest.approx(reference.log_loss(y, p))
    assert scores.top_k_accuracy(y, p, 2) == pytest.approx(reference.top_k_accuracy_score(y, p, k=2))
    assert np.allclose(scores.recall_by_class(y, p), reference.recall_score(y, answer, average=None))
    assert scores.worst_recall(y, p) == min(scores.recall_by_class(y, p))
    assert np.array_equal(scores.confusion_matrix(y, p), reference.confusion_matrix(y, answer))


def test_two_classes_may_be_one_probability() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    p = np.clip(0.5 * y + rng.uniform(0, 0.5, 200), 0.01, 0.99)
    both = np.stack([1 - p, p], axis=1)
    for score in (scores.accuracy, scores.log_loss, scores.brier, scores.macro_f1):
        assert score(y, p) == pytest.approx(score(y, both)) == pytest.approx(score(y, p[:, None]))
    assert scores.brier(y, p) == pytest.approx(2 * reference.brier_score_loss(y, p))  # summed over both classes


def test_a_class_that_is_absent_does_not_count() -> None:
    y, p = np.array([0, 0, 2, 2]), np.eye(3)[[0, 2, 2, 2]]
    assert scores.balanced_accuracy(y, p) == 0.75
    assert math.isnan(scores.recall_by_class(y, p)[1])
    assert scores.macro_f1(y, p) == pytest.approx(reference.f1_score(y, p.argmax(1), average="macro"))


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("seed", range(3))
def test_regression_agrees_with_scikit_learn(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(80, k))
    z = y + rng.normal(size=(80, k))
    assert scores.mean_absolute_error(y, z) == pytest.approx(reference.mean_absolute_error(y, z))
    assert scores.root_mean_squared_error(y, z) == pytest.approx(np.sqrt(reference.mean_squared_error(y, z)))
    assert scores.r2(y, z) == pytest.approx(reference.r2_score(y, z))


def test_a_column_of_outputs_matches_a_plain_truth() -> None:
    y = np.arange(5.0)
    assert scores.mean_absolute_error(y, y[:, None] + 2) == 2.0  # not the mean over a 5 × 5 table
    with pytest.raises(DataError, match="must have y's shape"):
        scores.mean_absolute_error(y, np.zeros((5, 2)))


@pytest.mark.parametrize("steps", [3, 30, 10**6])
@pytest.mark.parametrize("seed", range(4))
def test_anomaly_scores_agree_with_scikit_learn_with_ties_and_without(seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    y = (rng.random(400) < 0.2).astype(int)
    s = np.round((rng.normal(size=400) + y) * steps) / steps
    assert scores.roc_auc(y, s) == pytest.approx(reference.roc_auc_score(y, s))
    assert scores.average_precision(y, s) == pytest.approx(reference.average_precision_score(y, s))
    fpr, tpr, _ = reference.roc_curve(y, s, drop_intermediate=False)
    for rate in (0.01, 0.1, 0.5):
        assert scores.recall_at_false_alarms(y, s, rate) == pytest.approx(tpr[fpr <= rate].max())


LABELS_AND_SCORES = st.integers(2, 60).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)).filter(lambda y: 0 < y.sum() < len(y)),
        hnp.arrays(np.int64, n, elements=st.integers(-20, 20)),
    )
)


@given(LABELS_AND_SCORES)
def test_reversing_the_scores_mirrors_the_auc(both: tuple[np.ndarray, np.ndarray]) -> None:
    y, s = both
    assert scores.roc_auc(y, -s) == pytest.approx(1 - scores.roc_auc(y, s))
    assert scores.roc_auc(y, np.exp(s / 5)) == pytest.approx(scores.roc_auc(y, s))
    assert 0 < scores.average_precision(y, s) <= 1


@given(LABELS_AND_SCORES, st.floats(0, 1), st.floats(0, 1))
def test_more_false_alarms_never_find_less(both: tuple[np.ndarray, np.ndarray], a: float, b: float) -> None:
    low, high = (scores.recall_at_false_alarms(*both, rate) for rate in sorted((a, b)))
    assert 0 <= low <= high <= 1


def test_one_kind_of_sample_has_no_auc() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert math.isnan(scores.roc_auc(np.zeros(4, int), np.arange(4.0)))
        assert math.isnan(scores.average_precision(np.zeros(4, int), np.arange(4.0)))
        assert math.isnan(scores.recall_at_false_alarms(np.ones(4, int), np.arange(4.0), 0.1))


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_quantized_probabilities_are_accepted_and_logits_are_not(seed: int) -> None:
    y, p = outputs(seed, n=20)
    quantized = np.round(p * 256) / 256
    assert scores.brier(y, quantized) == pytest.approx(scores.brier(y, p), abs=0.02)
    assert np.isfinite(scores.log_loss(y, quantized))  # though some are plain zeros
    with pytest.raises(DataError, match="apply softmax"):
        scores.log_loss(y, np.log(p))
    with pytest.raises(DataError, match="not to 1"):
        scores.log_loss(y, p / 2)
