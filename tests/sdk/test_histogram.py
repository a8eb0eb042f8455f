from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from edgeloop.errors import MessageError
from edgeloop.histogram import LEAST_US, MOST_US, RELATIVE_ERROR, histogram, unpack_histogram

WITHIN = RELATIVE_ERROR * (1 + 1e-9)  # at a bucket's very edge, floats round

latencies = arrays(np.float64, st.integers(0, 60), elements=st.floats(LEAST_US, MOST_US))


@given(latencies.filter(len), st.floats(0, 1))
def test_a_quantile_is_within_1_percent_of_the_exact_one(latency_us: np.ndarray, q: float) -> None:
    exact = np.sort(latency_us)[int(np.floor(q * (len(latency_us) - 1)))]
    assert histogram(latency_us).quantile_us(q) == pytest.approx(exact, rel=WITHIN)


def test_the_quantiles_of_a_million_latencies_are_within_1_percent() -> None:
    latency_us = np.random.default_rng(0).lognormal(2, 1.5, 1_000_000) + LEAST_US
    found = histogram(latency_us)
    for q in (0, 0.01, 0.5, 0.9, 0.99, 0.9999, 1):
        exact = np.percentile(latency_us, 100 * q, method="lower")
        assert found.quantile_us(q) == pytest.approx(exact, rel=WITHIN)
    assert len(found.pack()) < 5000


@given(latencies, latencies, latencies)
def test_merging_is_commutative_and_associative_and_the_same_as_counting_at_once(
    a: np.ndarray, b: np.ndarray, c: np.ndarray
) -> None:
    of_a, of_b, of_c = histogram(a), histogram(b), histogram(c)
    together = histogram(np.concatenate([a, b, c]))
    assert together.n == len(a) + len(b) + len(c)
    for merged in ((of_a + of_b) + of_c, of_a + (of_b + of_c), of_c + of_b + of_a):
        assert np.array_equal(merged.counts, together.counts)


@given(latencies)
def test_what_is_packed_is_unpacked(latency_us: np.ndarray) -> None:
    found = histogram(latency_us)
    assert np.array_equal(unpack_histogram(found.pack()).counts, found.counts)


def test_an_hour_at_a_kilohertz_packs_to_some_hundred_bytes() -> None:
    assert len(histogram(np.random.default_rng(0).gamma(4, 10, 3_600_000)).pack()) < 1500


@given(st.binary(max_size=40))
def test_damaged_bytes_are_refused_or_are_a_histogram(raw: bytes) -> None:
    with contextlib.suppress(MessageError):
        assert unpack_histogram(raw).counts.shape == histogram(np.empty(0)).counts.shape


def test_what_is_outside_of_the_limits_is_counted_at_them() -> None:
    found = histogram(np.array([-1, 0, 1e-9, 1e30]))
    assert found.n == 4
    assert found.quantile_us(0) == pytest.approx(LEAST_US, rel=WITHIN)
    assert found.quantile_us(1) == pytest.approx(MOST_US, rel=WITHIN)


def test_no_latencies_have_no_quantile_and_a_quantile_past_1_is_refused() -> None:
    assert histogram(np.empty(0)).quantile_us(0.5) is None
    with pytest.raises(ValueError, match="not within 0 and 1"):
        histogram(np.ones(3)).quantile_us(1.5)
