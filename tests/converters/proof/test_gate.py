from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import ConfigError
from edgeloop_converters.proof import Drop, Gate, compare, find_metric, judge, measure, parse_drop

ACCURACY = find_metric("accuracy")


def right(share: float, n: int = 1000) -> np.ndarray:
    """Outputs that answer class 0 for the first share of the samples, 1 for the others."""
    return np.eye(2)[(np.arange(n) >= share * n).astype(int)]


TRUTH = np.zeros(1000, np.int64)


@pytest.mark.parametrize(
    ("allowed", "artifact", "holds"),
    [
        ("1%", 0.892, True),
        ("1%", 0.890, False),
        ("1pt", 0.890, True),
        ("0.01", 0.889, False),
        ("0", 0.9, True),
        ("0", 0.95, True),
    ],
)
def test_a_drop_is_judged_on_its_point_estimate(allowed: str, artifact: float, holds: bool) -> None:
    found = compare(ACCURACY, TRUTH, right(0.9), right(artifact), seed=0)
    verdict = judge(Gate(max_drop=parse_drop(allowed)), comparison=found)
    assert verdict.holds is holds
    assert verdict.budgets[0].measured == pytest.approx(0.9 - artifact)
    assert "95% interval of the drop" in verdict.text
    assert f"{artifact:.4g}" in verdict.text


def test_a_drop_whose_interval_holds_the_limit_says_so() -> None:
    rng = np.random.default_rng(0)
    few = np.eye(2)[(rng.random(100) < 0.1).astype(int)]
    found = compare(ACCURACY, TRUTH[:100], right(0.9, 100), few, seed=0)
    assert "more samples could turn this" in judge(Gate(max_drop=Drop(0.01, False)), comparison=found).text
    same = compare(ACCURACY, TRUTH, right(0.9), right(0.9), seed=0)
    assert "could turn" not in judge(Gate(max_drop=Drop(0.01, False)), comparison=same).text


def test_an_errors_rise_is_a_drop() -> None:
    y = np.arange(100.0)
    found = compare(find_metric("mae"), y, y + 1.0, y + 1.2, seed=0)
    assert not judge(Gate("mae", max_drop=parse_drop("10%")), comparison=found).holds
    assert judge(Gate("mae", max_drop=parse_drop("30%")), comparison=found).holds


def test_size_and_latency_are_held_against_their_limits() -> None:
    gate = Gate(max_size_bytes=60_000, max_latency_us=500)
    assert judge(gate, size_bytes=60_000, latency_us=499.9).holds
    verdict = judge(gate, size_bytes=60_001, latency_us=2000)
    assert [b.holds for b in verdict.budgets] == [False, False]
    assert verdict.budgets[0].sentence == ("the size is 60 kB, over the limit of 60 kB (60,001 against 60,000 bytes)")
    assert verdict.budgets[1].sentence == "the latency is 2 ms, over the limit of 500 µs"
    assert verdict.text.startswith("FAILS  the size")


def test_a_model_no_better_than_the_trivial_answer_fails() -> None:
    y = np.r_[np.zeros(800, np.int64), np.ones(200, np.int64)]
    lazy = measure(ACCURACY, y, np.tile([1.0, 0.0], (1000, 1)), seed=0)
    verdict = judge(Gate(min_over_trivial=0.05), measurement=lazy)
    assert (verdict.holds, verdict.budgets[0].measured) == (False, 0.0)
    assert "than the trivial answer's 0.8" in verdict.text
    assert judge(Gate(min_over_trivial=0.05), measurement=measure(ACCURACY, y, np.eye(2)[y], seed=0)).holds


@pytest.mark.parametrize(
    "gate",
    [Gate(max_drop=Drop(1, False)), Gate(max_size_bytes=1), Gate(max_latency_us=1), Gate(min_over_trivial=0)],
)
def test_a_budget_that_was_not_measured_does_not_hold(gate: Gate) -> None:
    verdict = judge(gate)
    assert not verdict.holds
    assert "wasn't measured" in verdict.text


def test_a_latency_that_is_nan_does_not_hold() -> None:
    assert not judge(Gate(max_latency_us=1.0), latency_us=float("nan")).holds


def test_a_gate_without_budgets_holds() -> None:
    assert judge(Gate()).holds
    assert judge(Gate()).text == ""


def test_another_metric_than_the_gates_is_refused() -> None:
    found = measure(ACCURACY, TRUTH[:5], right(1, 5), seed=0)
    with pytest.raises(ConfigError, match="budget is on macro_f1, but accuracy was measured"):
        judge(Gate("macro_f1", min_over_trivial=0.1), measurement=found)


@pytest.mark.parametrize(
    "limits", [{"max_size_bytes": -1}, {"max_latency_us": float("nan")}, {"max_drop": Drop(-1, True)}]
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="must be 0 or more"):
        Gate(**limits)
