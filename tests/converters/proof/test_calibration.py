from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from edgeloop.errors import DataError
from edgeloop_converters.proof import apply_temperature, calibration_error, fit_temperature, reliability_bins
from edgeloop_converters.proof.calibration import Binning


def calibrated(n: int, seed: int, k: int = 4, sharpness: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the very probabilities, which are then sharpened."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (n, k))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = (p.cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return y, apply_temperature(p, 1 / sharpness)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["equal_mass", "equal_width"]))
def test_probabilities_that_are_true_have_a_small_error(seed: int, binning: Binning) -> None:
    y, p = calibrated(20_000, seed)
    assert calibration_error(y, p, binning=binning) < 0.03


def test_sharpened_probabilities_have_a_large_error_and_temperature_mends_it() -> None:
    y, p = calibrated(6000, 0, sharpness=3.0)
    fit = fit_temperature(y[:3000], p[:3000], y[3000:], p[3000:])
    assert fit.temperature == pytest.approx(3.0, rel=0.1)
    assert fit.log_loss_after < fit.log_loss_before
    assert fit.error_after < 0.03 < 0.1 < fit.error_before


def test_temperature_leaves_the_answers() -> None:
    _, p = calibrated(200, 0)
    assert np.array_equal(apply_temperature(p, 5.0).argmax(axis=1), p.argmax(axis=1))
    assert np.allclose(apply_temperature(p, 1.0), p)


def test_the_fit_is_the_minimum() -> None:
    y, p = calibrated(500, 3, sharpness=0.5)
    fit = fit_temperature(y, p, y, p)
    from edgeloop_converters.proof.scores import log_loss

    around = [log_loss(y, apply_temperature(p, fit.temperature * f)) for f in (0.98, 1.02)]
    assert fit.log_loss_after < min(around)


@pytest.mark.parametrize(("binning", "strategy"), [("equal_width", "uniform"), ("equal_mass", "quantile")])
def test_bins_agree_with_scikit_learn(binning: Binning, strategy: str) -> None:
    y, p = calibrated(3000, 1, k=2)
    bins = reliability_bins(y, p, n_bins=10, binning=binning)
    right = p.argmax(axis=1) == y
    accuracy, confidence = calibration_curve(right, p.max(axis=1), n_bins=10, strategy=strategy)
    assert np.allclose([b.accuracy for b in bins], accuracy, atol=1e-9)
    assert np.allclose([b.confidence for b in bins], confidence, atol=1e-9)
    assert sum(b.count for b in bins) == 3000
    assert all(b.low <= b.confidence <= b.high for b in bins)


def test_a_certain_and_right_model_has_no_error() -> None:
    y = np.array([0, 1, 2, 1])
    assert calibration_error(y, np.eye(3)[y]) == 0.0
    assert calibration_error(y, np.eye(3)[(y + 1) % 3]) == 1.0


def test_logits_are_refused() -> None:
    with pytest.raises(DataError, match="softmax"):
        calibration_error(np.array([0, 1]), np.array([[3.0, -1], [0, 2]]))
    with pytest.raises(DataError, match="samples to fit on"):
        fit_temperature(np.array([], int), np.zeros((0, 2)), np.array([0]), np.eye(2)[:1])


def test_the_zeros_of_a_quantized_softmax_do_not_decide_the_temperature() -> None:
    rng = np.random.default_rng(0)
    y, p = calibrated(6000, 0, k=10, sharpness=2.0)  # so the right temperature is 2, but for some wrong labels
    noisy = rng.random(len(y)) < 0.03
    y[noisy] = rng.integers(0, 10, noisy.sum())
    stored = np.round(p * 256) / 256
    sets = y[:3000], stored[:3000], y[3000:], stored[3000:]
    plain, floored = fit_temperature(*sets), fit_temperature(*sets, floor=0.5 / 256)
    assert plain.temperature > 1.2 * floored.temperature
    assert floored.error_after < plain.error_after
