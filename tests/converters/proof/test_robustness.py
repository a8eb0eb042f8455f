from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_wine
from sklearn.linear_model import LogisticRegression

from edgeloop.errors import DataError
from edgeloop_converters.proof import PERTURBATIONS, find_metric, measure_robustness

ACCURACY = find_metric("accuracy")


@cache
def fitted() -> LogisticRegression:
    x, y = load_digits(return_X_y=True)
    return LogisticRegression(max_iter=200, C=0.05).fit(x[:1000] / 16, y[:1000])


class DigitModel:
    """A real classifier over 8 × 8 images, which remembers what it was asked."""

    def __init__(self, dtype: type = np.float32) -> None:
        x, y = load_digits(return_X_y=True)
        self.model = fitted()
        self.x = x[1000:].reshape(-1, 8, 8, 1).astype(dtype)
        self.y = y[1000:]
        self.seen: list[np.ndarray] = []

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self.seen.append(x)
        return self.model.predict_proba(x.reshape(len(x), -1) / 16)


def test_noise_hurts_more_the_stronger_it_is_and_a_shift_hurts_a_linear_model() -> None:
    model = DigitModel()
    rows = measure_robustness(model, model.x, model.y, metric=ACCURACY, seed=0)
    assert (rows[0].name, rows[0].drop) == ("none", 0)
    noise = [r.drop for r in rows if r.name == "noise"]
    assert noise[0] <= noise[-1] + 0.01
    assert min(r.drop for r in rows if r.name == "shift") > 0.1
    assert max(noise) < 0.05
    assert all(r.drop == pytest.approx(rows[0].value - r.value) for r in rows)


def test_the_same_seed_gives_the_same_table() -> None:
    model = DigitModel()
    first, again = (measure_robustness(model, model.x, model.y, metric=ACCURACY, seed=4) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_inputs_keep_their_dtype_shape_and_range(dtype: type) -> None:
    model = DigitModel(dtype)
    measure_robustness(model, model.x, model.y, metric=ACCURACY, seed=0)
    assert len(model.seen) == 1 + len(PERTURBATIONS["image"])
    for x in model.seen:
        assert (x.dtype, x.shape) == (model.x.dtype, model.x.shape)
        assert (x.min() >= 0, x.max() <= 16) == (True, True)
    same = sum(np.array_equal(x, model.seen[0]) for x in model.seen[1:])
    assert same == (1 if dtype is np.uint8 else 0)  # 6 bits hold these 17 grey values as they are


def test_a_blur_spreads_a_point_and_keeps_its_sum() -> None:
    blur = next(p for p in PERTURBATIONS["image"] if p.name == "blur")
    point = np.zeros((1, 5, 5, 1))
    point[0, 2, 2, 0] = 16
    found = blur.apply(point, (np.zeros(1), np.full(1, 16.0)), np.random.default_rng(0))
    assert found[0, 1:4, 1:4, 0].tolist() == [[1, 2, 1], [2, 4, 2], [1, 2, 1]]
    assert found.sum() == 16


def test_the_original_input_is_left_alone() -> None:
    model = DigitModel()
    before = model.x.copy()
    measure_robustness(model, model.x, model.y, metric=ACCURACY, seed=0)
    assert np.array_equal(model.x, before)


def test_a_tables_noise_follows_each_columns_unit() -> None:
    x, y = load_wine(return_X_y=True)
    spread = np.ptp(x, axis=0)
    seen: list[np.ndarray] = []

    def predict(table: np.ndarray) -> np.ndarray:
        seen.append(table)
        return np.eye(3)[y]

    measure_robustness(predict, x, y, metric=ACCURACY, seed=0)
    noise = (seen[2] - x)[:, 0].std() / spread[0], (seen[2] - x)[:, 12].std() / spread[12]
    assert noise == (pytest.approx(0.02, rel=0.2), pytest.approx(0.02, rel=0.2))


def test_signals_are_shifted_in_time_only() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 20, 3))
    seen: dict[int, np.ndarray] = {}

    def predict(signal: np.ndarray) -> np.ndarray:
        seen[len(seen)] = signal
        return np.zeros((30, 2))

    rows = measure_robustness(predict, x, np.zeros(30, int), metric=ACCURACY, seed=0)
    later = next(i for i, r in enumerate(rows) if r.strength == "1 step later")
    assert np.array_equal(seen[later][:, 1:], x[:, :-1])
    assert np.array_equal(seen[later][:, 0], x[:, 0])


def test_other_ranks_are_refused() -> None:
    with pytest.raises(DataError, match=r"got \(4,\)"):
        measure_robustness(lambda x: x, np.zeros(4), np.zeros(4, int), metric=ACCURACY, seed=0)
