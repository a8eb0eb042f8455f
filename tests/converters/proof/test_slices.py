from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeloop.errors import DataError
from edgeloop_converters.proof import compare_slices, find_metric, slice_by_column, slice_by_quantile

ACCURACY = find_metric("accuracy")


def answers(right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truth and one-hot outputs that are right where `right` says."""
    return np.zeros(len(right), np.int64), np.eye(2)[(~right).astype(int)]


def test_the_site_where_the_model_fails_is_named_with_its_gap() -> None:
    rng = np.random.default_rng(0)
    site = rng.choice(["north", "south", "west"], 900)
    right = rng.random(900) < np.where(site == "south", 0.6, 0.9)
    report = compare_slices(ACCURACY, *answers(right), slice_by_column(site, "site"), seed=0)
    assert report.worst == report.rows[0].name == "site=south"
    assert report.gap == pytest.approx(report.rows[-1].value - report.rows[0].value)
    assert report.significant
    assert 0.15 < report.gap_low < report.gap < report.gap_high
    assert 0 < report.p_value < 0.01  # a permutation test never says impossible
    n = {r.name: r.n for r in report.rows}
    value = {r.name: r.value for r in report.rows}
    error = math.sqrt(sum(value[s] * (1 - value[s]) / n[s] for s in (report.best, report.worst)))
    corrected = 2.394  # the normal quantile for 5 % over three pairs; 1.96 uncorrected
    assert report.gap_high - report.gap == pytest.approx(corrected * error, rel=0.1)
    assert "Bonferroni" in report.note


def test_slices_that_do_not_differ_raise_no_more_alarms_than_stated() -> None:
    rng = np.random.default_rng(1)
    alarms = 0
    for seed in range(60):
        site = rng.integers(0, 8, 400)
        right = rng.random(400) < 0.85
        report = compare_slices(ACCURACY, *answers(right), slice_by_column(site, "site"), seed=seed, n_resamples=60)
        alarms += report.significant
    # At a level of 5 %, 9 or more of 60 come by chance once in 500 times.
    assert alarms < 9


def test_for_an_error_the_worst_slice_is_the_highest() -> None:
    site = np.repeat(["a", "b"], 100)
    y = np.random.default_rng(0).normal(size=200)
    report = compare_slices(
        find_metric("mae"), y, y + np.where(site == "b", 2.0, 1.0), slice_by_column(site, "site"), seed=0
    )
    assert (report.worst, report.best, report.gap) == ("site=b", "site=a", pytest.approx(1.0))


def test_small_slices_are_named_and_not_judged() -> None:
    site = np.repeat(["a", "b", "c"], [100, 100, 5])
    report = compare_slices(ACCURACY, *answers(site != "c"), slice_by_column(site, "site"), seed=0)
    assert report.too_small == (("site=c", 5),)
    assert (report.gap, report.significant) == (0, False)


def test_a_single_slice_is_refused() -> None:
    with pytest.raises(DataError, match="needs two slices of 30"):
        compare_slices(ACCURACY, *answers(np.ones(99, bool)), slice_by_column(np.zeros(99), "site"), seed=0)


def test_slices_by_class_show_the_classes_names() -> None:
    assert [s.name for s in slice_by_column(np.array([1, 0, 1]), "class", ("ok", "worn"))] == [
        "class=ok",
        "class=worn",
    ]


@given(
    hnp.arrays(
        np.float64,
        st.integers(1, 80),
        elements=st.integers(-5, 5).map(float) | st.floats(-1e6, 1e6) | st.just(math.nan),
    ),
    st.integers(2, 6),
)
def test_quantile_slices_hold_every_sample_once(values: np.ndarray, count: int) -> None:
    slices = slice_by_quantile(values, "temperature", count)
    assert sorted(np.concatenate([s.rows for s in slices]).tolist()) == list(range(len(values)))
    assert len(slices) <= max(count, len(np.unique(values))) + 1


def test_quantile_slices_have_equal_sizes() -> None:
    slices = slice_by_quantile(np.random.default_rng(0).permutation(np.arange(100.0)), "t")
    assert [len(s.rows) for s in slices] == [25] * 4
    assert slices[0].name == "t 0 to 24.75"
