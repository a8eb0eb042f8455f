from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest

from edgeloop.errors import ConfigError, DataError
from edgeloop_converters.proof import METRICS, find_metric


def example(task: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    if task == "regression":
        y = rng.normal(size=200)
        return y, y + 0.3 * rng.normal(size=200)
    if task == "anomaly":
        y = (rng.random(200) < 0.3).astype(int)
        return y, y + 0.3 * rng.normal(size=200)
    y = rng.integers(0, 4, 200)
    p = rng.uniform(size=(200, 4)) + 3 * np.eye(4)[y]
    return y, p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", [*METRICS, "top_2_accuracy"])
def test_a_useful_model_beats_the_trivial_answer_in_the_metrics_own_direction(name: str) -> None:
    metric = find_metric(name)
    y, outputs = example(metric.task)
    good, trivial = metric(y, outputs), metric.trivial(y, outputs, seed=0)
    assert good > trivial if metric.higher_is_better else good < trivial
    assert metric.name == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [("accuracy", 0.6), ("balanced_accuracy", 0.5), ("r2", 0.0), ("mae", 0.4), ("roc_auc", 0.5)],
)
def test_the_trivial_answer_is_the_best_constant(name: str, expected: float) -> None:
    metric = find_metric(name)
    y = np.array([1, 1, 0, 1, 0] * 40)
    truth = y.astype(float) if metric.task == "regression" else y
    tolerance = 0.06 if name == "roc_auc" else 1e-9  # a mean over shuffles
    assert metric.trivial(truth, y.astype(float), seed=0) == pytest.approx(expected, abs=tolerance)


def test_a_function_of_the_users_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("plant_metrics")

    def cost(y_true: np.ndarray, outputs: np.ndarray) -> float:
        return float(np.sum(np.abs(y_true - outputs) * 3))

    cost.higher_is_better = False
    module.cost = cost
    module.limit = 3
    monkeypatch.setitem(sys.modules, "plant_metrics", module)
    metric = find_metric("plant_metrics:cost")
    y = np.array([1.0, 2.0, 5.0])
    assert (metric(y, y + 1), metric.higher_is_better) == (9.0, False)
    assert metric.trivial(y, y, seed=0) > 0
    with pytest.raises(ConfigError, match="no function, but int"):
        find_metric("plant_metrics:limit")


@pytest.mark.parametrize("name", ["acuracy", "top_0_accuracy", "no_such_module:f", "math:no_such_function", ":f"])
def test_an_unknown_metric_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"unknown metric.*accuracy|can't be imported"):
        find_metric(name)


@pytest.mark.parametrize(
    ("y", "outputs", "message"),
    [
        (np.array([0, 1]), np.eye(3), "3 outputs for 2 labels"),
        (np.array([], int), np.zeros((0, 3)), "at least one"),
        (np.array([0.0, 1.0]), np.eye(2), "integer class indices"),
        (np.array([0, 2]), np.eye(2), "from 0 to 2, but the model has 2"),
        (np.array([-1, 0]), np.eye(2), "from -1"),
        (np.array([0, 2]), np.array([[0.1], [0.9]]), "from 0 to 2, but the model has 2"),
    ],
)
def test_truth_that_does_not_match_the_outputs_is_refused(y: np.ndarray, outputs: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        find_metric("accuracy")(y, outputs)


def test_top_k_refuses_fewer_classes_than_k() -> None:
    with pytest.raises(DataError, match="at least 5 classes"):
        find_metric("top_5_accuracy")(np.array([0, 1]), np.eye(2))
