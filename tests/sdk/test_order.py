from __future__ import annotations

import numpy as np
import pytest

from edgeloop.order import median_interval, median_ranks


@pytest.mark.parametrize(
    ("n", "ranks"), [(0, None), (5, None), (6, (1, 6)), (10, (2, 9)), (12, (3, 10)), (20, (6, 15)), (50, (18, 33))]
)
def test_ranks_are_those_of_the_sign_test_tables(n: int, ranks: tuple[int, int] | None) -> None:
    assert median_ranks(n) == ranks


def test_the_approximation_continues_the_exact_ranks() -> None:
    exact, approximate = median_ranks(999), median_ranks(1000)
    assert exact is not None
    assert approximate is not None
    assert abs(exact[0] - approximate[0]) <= 1


def test_the_interval_holds_the_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(7)
    intervals = [median_interval(rng.lognormal(size=30)) for _ in range(2000)]
    held = np.mean([low <= 1 <= high for low, high in filter(None, intervals)])
    assert 0.94 < held < 0.98  # 95.7 % by the binomial


def test_a_smaller_alpha_takes_ranks_further_out() -> None:
    assert median_ranks(12, alpha=0.0125) == (2, 11)
    assert median_ranks(6, alpha=0.0125) is None
    low, high = median_ranks(5000, alpha=0.0125) or (0, 0)
    usual = median_ranks(5000) or (0, 0)
    assert low < usual[0] < usual[1] < high


def test_a_few_values_have_no_interval() -> None:
    assert median_interval([1.0, 2.0, 3.0]) is None
