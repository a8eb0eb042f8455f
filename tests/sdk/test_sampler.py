from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.baseline import fit_baseline
from edgeloop.sampler import Budget, novelty, pick, uncertainty


def test_weighting_by_the_inverse_probability_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    values = rng.exponential(size=400)
    scores = {"uncertain": values + rng.uniform(0, 1, 400)}  # picks what is large: the plain mean would be far off
    totals, plain = [], []
    for _ in range(2000):
        picks = pick(scores, 40, rng)
        totals.append((values[picks.indices] / picks.probabilities).sum())
        plain.append(values[picks.indices].mean())
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - values.sum()) < 4 * error
    assert np.mean(plain) > 1.3 * values.mean()


@given(st.integers(1, 60), st.floats(0.1, 80), st.integers(0, 2**32 - 1))
def test_the_expected_number_is_kept_and_every_row_has_a_chance(n: int, expected: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picks = pick({"uncertain": rng.random(n), "novel": rng.random(n)}, expected, rng)
    assert (picks.probabilities > 0).all()
    assert (picks.probabilities <= 1).all()
    assert len(set(picks.indices.tolist())) == len(picks.indices) == len(picks.reasons)


def test_about_as_many_are_picked_as_expected() -> None:
    rng = np.random.default_rng(0)
    scores = {"novel": rng.random(1000)}
    assert np.mean([len(pick(scores, 25, rng).indices) for _ in range(400)]) == pytest.approx(25, abs=1)


def test_the_reason_is_the_larger_score_or_an_audit() -> None:
    scores = {"uncertain": np.array([1.0, 0.0, 0.0]), "novel": np.array([0.0, 1.0, 0.0])}
    picks = pick(scores, 2, np.random.default_rng(0))
    named = dict(zip(picks.indices.tolist(), picks.reasons, strict=True))
    assert (named[0], named[1]) == ("uncertain", "novel")
    seen = {r for s in range(200) for r in pick({"novel": np.zeros(50)}, 5, np.random.default_rng(s)).reasons}
    assert seen == {"audit"}


def test_nothing_is_picked_without_a_budget() -> None:
    assert len(pick({"novel": np.ones(10)}, 0, np.random.default_rng(0)).indices) == 0


def test_the_budget_refills_and_has_a_limit() -> None:
    budget = Budget(86400, now_s=0)
    assert budget.available(0) == 3600
    budget.spend(3600)
    assert budget.available(10) == pytest.approx(10)
    assert budget.available(1e9) == 3600


def test_uncertainty_is_zero_for_a_sure_answer_and_one_for_none() -> None:
    found = uncertainty(np.array([[1, 0, 0], [1 / 3] * 3, [np.nan] * 3], dtype=np.float32))
    assert found == pytest.approx([0, 1, 1], abs=1e-4)


def test_novelty_grows_outside_of_the_training_data() -> None:
    baseline = fit_baseline(np.random.default_rng(0).normal(size=(500, 2)), None, summary="columns")
    found = novelty(baseline, np.array([[0, 0], [3, 0], [30, 0], [np.nan, 0]]))
    assert found[0] == 0
    assert 0 < found[1] < found[2] < 1
    assert found[3] == 1
