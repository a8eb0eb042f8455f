"""Change points: their rate of false alarms on noise, and what they find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop_bench.change_points import ALPHA, change_points, critical_value


@pytest.mark.parametrize("n", [12, 40, 100])
def test_the_critical_values_are_those_of_permutations(n: int) -> None:
    rng = np.random.default_rng(7)
    noise = [np.exp(rng.normal(0, 0.05, n)) for _ in range(600)]
    share = np.mean([bool(change_points(values)) for values in noise])
    # Binomial(600, 1 %) exceeds 14 once in 2,000 times.
    assert share <= 14 / 600
    drawn = critical_value(n, ALPHA, trials=2000, rng=rng)
    assert drawn == pytest.approx({12: 2.717, 40: 3.457, 100: 3.844}[n], rel=0.05)


def test_noise_with_outliers_has_no_more_false_alarms() -> None:
    rng = np.random.default_rng(1)
    noise = [np.exp(0.02 * rng.standard_t(1.5, 50)) for _ in range(400)]
    assert np.mean([bool(change_points(values)) for values in noise]) <= 11 / 400


@pytest.mark.parametrize(
    ("n", "steps", "least_found"),
    [(20, {10: 1.08}, 0.9), (50, {44: 1.1}, 0.85), (60, {20: 1.1, 40: 1 / 1.1}, 0.85), (200, {150: 1.06}, 0.85)],
)
def test_steps_beyond_the_noise_are_found_where_they_are(n: int, steps: dict[int, float], least_found: float) -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(60):
        values = 100 * np.exp(rng.normal(0, 0.02, n))
        for at, step in steps.items():
            values[at:] *= step
        told = change_points(values)
        found += len(told) == len(steps) and all(abs(c.index - at) <= 2 for c, at in zip(told, steps, strict=True))
    assert found / 60 >= least_found


def test_change_tells_the_levels_around_it() -> None:
    (change,) = change_points([100.0, 101, 99, 100, 100.5, 99.5, 100, 100, 120, 121, 119, 120, 120.5, 119.5, 120, 120])
    assert (change.index, change.before, change.after) == (8, 100.0, 120.0)
    assert change.ratio == pytest.approx(1.2)


def test_what_is_less_than_one_percent_is_not_told() -> None:
    assert change_points([100.0 + i / 1e6 for i in range(20)] + [100.5 + i / 1e6 for i in range(20)]) == ()


def test_too_few_runs_or_equal_ones_have_no_change() -> None:
    assert change_points([1.0] * 5 + [2.0] * 4) == ()
    assert change_points([3.0] * 40) == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0.1, 1e6), min_size=10, max_size=60), st.sampled_from([1e-3, 7.0, 1e4]))
def test_the_unit_does_not_matter(values: list[float], unit: float) -> None:
    plain, scaled = change_points(values), change_points([v * unit for v in values])
    if len({v * unit for v in values}) == len(set(values)):
        assert [c.index for c in plain] == [c.index for c in scaled]
