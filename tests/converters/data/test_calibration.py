from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_diabetes, load_digits

from edgeloop.errors import ConfigError
from edgeloop_converters.data import Dataset, check_stability, load_dataset, pick_calibration


def digits() -> Dataset:
    x, y = load_digits(return_X_y=True)
    return Dataset(x.reshape(-1, 8, 8, 1).astype(np.float32), y.astype(np.int64))


def test_the_same_seed_picks_the_same_samples_and_another_does_not() -> None:
    first, again, other = (pick_calibration(digits(), n=100, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.indices, again.indices)
    assert first.sha256 == again.sha256
    assert first.sha256 != other.sha256


def test_real_images_are_picked_in_balance_and_cover_the_range(shared_dir: Path) -> None:
    dataset = load_dataset(shared_dir / "data" / "cifar10.npz", split="train")
    picked = pick_calibration(dataset, n=100, seed=0)
    assert dataset.y is not None
    assert np.bincount(dataset.y[picked.indices]).tolist() == [10] * 10
    assert picked.ranges == {"x": (0.0, 255.0)}
    assert check_stability(dataset, n=100, seed=0) == ()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(1, 120), st.integers(0, 9))
def test_classes_give_equal_shares_as_far_as_their_sizes_allow(sizes: list[int], n: int, seed: int) -> None:
    y = np.repeat(np.arange(len(sizes)), sizes)
    x = np.random.default_rng(seed).uniform(size=(len(y), 3, 3))
    picked = pick_calibration(Dataset(x, y), n=n, seed=seed)
    counts = np.bincount(y[picked.indices], minlength=len(sizes))
    available = np.bincount(np.delete(y, picked.outliers), minlength=len(sizes))
    assert len(set(picked.indices.tolist())) == len(picked) == min(n, available.sum())
    short = counts < available  # only a class that is used up gives less than another
    assert counts[short].size == 0 or counts[short].min() >= counts.max() - 1


@pytest.mark.parametrize("n", [10, 200, 500])
def test_broken_samples_are_set_aside(n: int) -> None:
    clean = digits()
    x = clean.inputs["x"].copy()
    x[[5, 700]] *= 50  # a sensor that saturates
    picked = pick_calibration(Dataset(x, clean.y), n=n, seed=0)
    assert {5, 700} <= set(picked.outliers.tolist())
    assert picked.ranges["x"] == (0.0, 16.0)


def test_the_range_of_a_few_samples_is_nearly_that_of_all() -> None:
    rng = np.random.default_rng(0)
    dataset = Dataset(rng.uniform(0.2, 1, (2000, 1, 1)) * rng.standard_normal((2000, 50, 2)))
    low, high = dataset.inputs["x"].min(), dataset.inputs["x"].max()
    picked = pick_calibration(dataset, n=50, seed=0)
    assert picked.ranges["x"][0] <= 0.9 * low
    assert picked.ranges["x"][1] >= 0.9 * high


def test_a_tables_columns_weigh_the_same_whatever_their_unit() -> None:
    x, y = load_diabetes(return_X_y=True)
    in_other_units = x * np.logspace(-4, 4, x.shape[1])
    a, b = (pick_calibration(Dataset(v, y), n=60, seed=0) for v in (x, in_other_units))
    assert np.array_equal(a.indices, b.indices)
    # Values to predict are spread as well: each tenth of them gives a tenth.
    assert np.bincount(np.searchsorted(np.quantile(y, [0.25, 0.5, 0.75]), y[a.indices])).min() >= 10


def test_a_small_set_is_taken_whole() -> None:
    picked = pick_calibration(digits().take(np.arange(30)), n=200, seed=0)
    assert picked.indices.tolist() == list(range(30))


def test_several_inputs_are_picked_by_the_same_rows() -> None:
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(50, 4)), "b": np.arange(50.0)[:, None]}
    picked = pick_calibration(Dataset(x), n=10, seed=0)
    assert isinstance(picked.x, dict)
    assert picked.x["b"].ravel().tolist() == picked.indices.tolist()


def test_a_range_that_hangs_on_single_samples_is_found() -> None:
    rng = np.random.default_rng(0)
    heavy = Dataset(rng.standard_t(1.5, size=(2000, 40, 2)))
    findings = check_stability(heavy, n=50, seed=0)
    assert [(f.code, f.severity) for f in findings] == [("calibration_unstable", "warning")]
    assert "ranges [" in findings[0].message


def test_no_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match="n=0"):
        pick_calibration(digits(), n=0, seed=0)
