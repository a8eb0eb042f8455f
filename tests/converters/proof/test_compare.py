from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from edgeloop.errors import DataError
from edgeloop_converters.proof import compare, find_metric, mcnemar_p, measure
from edgeloop_converters.proof.compare import resamples


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, a real model's probabilities, and those of the same model on coarser weights."""
    x, y = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=200, C=0.01).fit(x[:900] / 16, y[:900])
    original = model.predict_proba(x[900:] / 16)
    step = np.abs(model.coef_).max() / 3
    model.coef_ = np.round(model.coef_ / step) * step
    return y[900:], original, model.predict_proba(x[900:] / 16)


def test_an_interval_holds_the_value_and_narrows_with_samples(
    digits: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    y, p, _ = digits
    all_, few = (measure(find_metric("accuracy"), y[:n], p[:n], seed=0) for n in (897, 100))
    assert all_.low <= all_.value <= all_.high
    assert all_.high - all_.low < few.high - few.low
    assert all_.over_trivial == pytest.approx(all_.value - np.bincount(y).max() / len(y))


def test_the_interval_is_as_wide_as_theory_says() -> None:
    y = np.zeros(1000, np.int64)
    outputs = np.eye(2)[(np.arange(1000) % 5 == 0).astype(int)]  # right in 80 %
    found = measure(find_metric("accuracy"), y, outputs, seed=0)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (found.low, found.high) == (
        pytest.approx(0.8 - half, abs=0.003),
        pytest.approx(0.8 + half, abs=0.003),
    )


def test_the_same_outputs_do_not_drop(digits: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    y, p, _ = digits
    found = compare(find_metric("accuracy"), y, p, p.copy(), seed=0)
    assert (found.drop, found.low, found.high, found.mcnemar_p, found.agreement) == (0, 0, 0, 1.0, 1.0)


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "log_loss", "brier"])
def test_a_coarser_model_drops_and_pairing_narrows_the_interval(
    digits: tuple[np.ndarray, np.ndarray, np.ndarray], name: str
) -> None:
    y, original, coarse = digits
    metric = find_metric(name)
    found = compare(metric, y, original, coarse, seed=0)
    worse = metric(y, original) - metric(y, coarse)
    assert found.drop == pytest.approx(worse if metric.higher_is_better else -worse)
    assert found.low <= found.drop <= found.high
    back = compare(metric, y, coarse, original, seed=0)
    assert (back.drop, back.low, back.high) == tuple(map(pytest.approx, (-found.drop, -found.high, -found.low)))
    alone = measure(metric, y, coarse, seed=0)
    assert found.high - found.low < 2 * (alone.high - alone.low)


def test_a_drop_in_an_error_is_a_rise() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=300)
    found = compare(find_metric("mae"), y, y + 0.1, y + 0.4, seed=0)
    assert found.drop == pytest.approx(0.3)
    assert found.mcnemar_p is None


def test_rare_anomalies_stay_in_every_resample() -> None:
    rng = np.random.default_rng(0)
    y = np.r_[np.ones(2, int), np.zeros(300, int)]
    found = measure(find_metric("roc_auc"), y, y + rng.normal(size=302), seed=0)
    assert np.isfinite([found.low, found.high]).all()
    assert {int(y[i].sum()) for i in resamples(find_metric("roc_auc"), y, 50, seed=0)} == {2}
    assert len({int(y[i].sum()) for i in resamples(find_metric("accuracy"), y, 50, seed=0)}) > 2


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 5))
def test_mcnemar_is_the_exact_binomial_test(first: int, second: int, both: int) -> None:
    a = np.r_[np.ones(first), np.zeros(second), np.ones(both)].astype(bool)
    b = np.r_[np.zeros(first), np.ones(second), np.ones(both)].astype(bool)
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_p(a, b) == pytest.approx(expected)


@pytest.mark.parametrize("name", ["accuracy", "mae", "roc_auc"])
def test_nan_in_the_outputs_is_refused(name: str) -> None:
    y = np.array([0, 1, 0, 1, 1])
    broken = np.where(y == 1, np.nan, 0.2)
    with pytest.raises(DataError, match="3 of 5 outputs hold NaN"):
        compare(find_metric(name), y, broken, broken, seed=0)


def test_one_kind_of_label_is_refused_where_the_metric_needs_both() -> None:
    with pytest.raises(DataError, match="isn't defined on these 5 samples"):
        measure(find_metric("roc_auc"), np.zeros(5, int), np.arange(5.0), seed=0)
