from __future__ import annotations

import numpy as np
import pytest

from edgeloop.latency import Latency, Ratio
from edgeloop_converters import evaluate
from edgeloop_converters.evaluate import Evaluation, Speed, evaluate_file, key_for, measure_speed, slower_finding
from edgeloop_converters.recipes import Compile, find_recipe
from edgeloop_converters.tflite import Finding
from tiny_models import CLASSES, FEATURES, tiny_model

PARTITIONS = Finding("partitions", "warning", "14 partitions", "depthwise layers", "full integers")


def speed(ratio: float, ci: tuple[float, float] | None) -> Speed:
    return Speed(Latency(100, 10, 10.0 * ratio, None, 9.0, 12.0, None), Ratio(ratio, ci, 10))


def evaluation(*findings: Finding, outside: tuple[str, ...] = ()) -> Evaluation:
    return Evaluation(1000, 10, 10, 1, outside, 3, {}, 100, None, findings)


def test_a_file_is_described_run_and_checked() -> None:
    x = np.eye(FEATURES, dtype=np.float32)
    found, outputs = evaluate_file(tiny_model(), Compile(scheme="float32"), x)
    assert found.op_counts == {"FULLY_CONNECTED": 1, "SOFTMAX": 1}
    assert found.size_bytes == len(tiny_model())
    assert found.agreed is None
    assert found.findings == ()
    assert outputs[0].shape == (FEATURES, CLASSES)
    np.testing.assert_array_equal(outputs[0][:CLASSES].argmax(axis=1), range(CLASSES))


def test_what_was_asked_for_and_not_done_is_found() -> None:
    found, _ = evaluate_file(tiny_model(), Compile(scheme="int8"), np.eye(FEATURES, dtype=np.float32))
    assert "nothing_quantized" in {f.code for f in found.findings}


def test_both_sides_of_a_speed_come_from_the_same_rounds() -> None:
    own, speeds = measure_speed(
        tiny_model(), {"same": tiny_model()}, np.zeros((1, FEATURES), np.float32), min_time_s=0.01
    )
    assert speeds["same"].of_original.rounds == own.rounds == speeds["same"].latency.rounds


@pytest.mark.parametrize(("ratio", "ci"), [(0.5, (0.4, 0.6)), (1.04, (1.02, 1.06)), (1.3, (0.9, 1.7))])
def test_what_is_not_surely_slower_is_no_finding(ratio, ci) -> None:
    assert slower_finding(find_recipe("dynamic-int8"), speed(ratio, ci), evaluation(PARTITIONS)) is None


def test_a_slower_file_names_its_cause_and_the_recipe_that_avoids_it() -> None:
    found = slower_finding(find_recipe("dynamic-int8"), speed(4.4, (4.3, 4.5)), evaluation(PARTITIONS))
    assert found is not None
    assert found.severity == "warning"
    assert "4.4 times slower" in found.message
    assert found.cause == "14 partitions: depthwise layers"
    assert found.remedy.startswith("recipe 'int8'")


def test_slower_integers_are_laid_on_the_processor_where_it_is_to_blame(monkeypatch) -> None:
    monkeypatch.setattr(evaluate, "has_int8_dot_product", lambda: False)
    found = slower_finding(find_recipe("int8"), speed(1.4, (1.3, 1.5)), evaluation())
    assert found is not None
    assert "no int8 dot product" in found.cause
    monkeypatch.setattr(evaluate, "has_int8_dot_product", lambda: True)
    found = slower_finding(find_recipe("int8"), speed(1.4, (1.3, 1.5)), evaluation(outside=("GELU",)))
    assert found is not None
    assert found.cause.startswith("GELU")


def test_an_input_goes_by_the_name_that_the_user_knows() -> None:
    assert key_for("serving_default_left:0", {"left": 0, "right": 0}) == "left"
    assert key_for("left", {"left": 0}) == "left"
