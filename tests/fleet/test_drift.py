"""The statistics: right by their definition, and calibrated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edgeloop_fleet.drift import (
    GNull,
    benjamini_hochberg,
    g_statistic,
    gamma_sf,
    psi,
    psi_lower_bound,
    spending,
)

TENTHS = np.full(10, 0.1)
SKEWED = np.array([0.6, 0.2, 0.1, 0.05, 0.03, 0.01, 0.005, 0.003, 0.002])


@given(x=st.floats(1e-6, 2000), shape=st.floats(0.5, 200))
def test_the_gamma_tail_is_scipys(x: float, shape: float):
    expected = float(stats.gamma.sf(x, shape))
    assert gamma_sf(x, shape) == pytest.approx(expected, rel=1e-6, abs=1e-14)


def test_g_is_that_of_the_contingency_table():
    w, b = np.array([3, 9, 18, 0]), np.array([100, 120, 80, 4])
    expected = stats.chi2_contingency(np.stack([w, b]), lambda_="log-likelihood", correction=False).statistic
    assert float(g_statistic(w, b)) == pytest.approx(expected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.floats(0.001, 0.2))
def test_benjamini_hochberg_is_scipys(p_values: list[float], alpha: float):
    p = np.array(p_values)
    adjusted = stats.false_discovery_control(p)
    clear = np.abs(adjusted - alpha) > 1e-9
    assert np.array_equal(benjamini_hochberg(p, alpha)[clear], (adjusted <= alpha)[clear])


def test_all_that_is_ever_spent_is_alpha():
    spent = sum(spending(k, 0.01) for k in range(1, 200_000))
    rest = 0.01 / 2.1097428 / math.log(200_000)
    assert spent < 0.01
    assert spent + rest == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("p", [TENTHS, SKEWED], ids=["tenths", "skewed"])
@pytest.mark.parametrize("n", [20, 50, 200])
def test_p_values_of_no_drift_are_at_most_as_often_small_as_they_say(p: np.ndarray, n: int):
    rng = np.random.default_rng(n)
    trials, level = 3000, 0.01
    small = 0
    for _ in range(30):
        baseline = rng.multinomial(800, p)
        null = GNull(baseline, seed=1)
        # A fresh baseline sample each: the p-value is of both samples' errors, not of the window's alone.
        small += sum(null.p_value(w) <= level for w in rng.multinomial(n, p, trials // 30))
    # 30 baselines share their error among 100 windows each, hence the wide margin.
    assert small <= 2.5 * level * trials


def test_the_bound_of_the_psi_covers_it_and_nothing_is_shown_where_nothing_is():
    rng = np.random.default_rng(3)
    moved = np.array([0.3, 0.2, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05])
    true = float(((moved - TENTHS) * np.log(moved / TENTHS)).sum())
    above = sum(
        psi_lower_bound(rng.multinomial(60, moved), rng.multinomial(800, TENTHS), rng) > true for _ in range(200)
    )
    assert above <= 200 * 0.05 + 3 * math.sqrt(200 * 0.05 * 0.95)
    same = [psi_lower_bound(rng.multinomial(60, TENTHS), rng.multinomial(800, TENTHS), rng) for _ in range(200)]
    assert np.mean(np.array(same) > 0.2) < 0.01
    assert np.mean(psi(rng.multinomial(60, TENTHS, 200), rng.multinomial(800, TENTHS, 200))) > 0.1
