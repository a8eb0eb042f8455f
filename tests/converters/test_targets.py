from __future__ import annotations

import pytest

from edgeloop.errors import ConfigError
from edgeloop_converters.evaluate import evaluate_file
from edgeloop_converters.recipes import Compile, RecipeData, apply_recipe, find_recipe
from edgeloop_converters.targets import TARGETS, check_file, check_ops, find_target, suits

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def files(digit_task) -> dict[str, bytes]:
    x = digit_task.train.x[:40] / 16
    data = RecipeData(x, x)
    return {n: apply_recipe(find_recipe(n), digit_task.model, data, seed=0).model for n in ("float32", "int8")}


def codes(target, files, name, digit_task):
    scheme = "int8" if name == "int8" else "float32"
    evaluation, _ = evaluate_file(files[name], Compile(scheme=scheme), digit_task.held_out.x[:5] / 16)
    return {f.code for f in check_file(TARGETS[target], files[name], evaluation)}


def test_all_seven_targets_are_there_and_an_unknown_one_lists_them() -> None:
    assert set(TARGETS) == {"rpi-zero2w", "rpi3", "rpi4", "rpi5", "x86", "edgetpu", "cortex-m"}
    with pytest.raises(ConfigError, match="unknown target 'toaster': use one of rpi-zero2w"):
        find_target("toaster")


@pytest.mark.parametrize("target", ["edgetpu", "cortex-m"])
def test_integer_targets_take_int8_and_name_what_is_float(target, files, digit_task) -> None:
    assert codes(target, files, "int8", digit_task) == set()
    assert codes(target, files, "float32", digit_task) == {"not_integer"}
    assert suits(TARGETS[target], find_recipe("int8"))
    assert not suits(TARGETS[target], find_recipe("float16"))


def test_a_pi_takes_any_scheme(files, digit_task) -> None:
    assert codes("rpi4", files, "float32", digit_task) == set()
    assert suits(TARGETS["rpi4"], find_recipe("float16"))
    assert suits(None, find_recipe("int4-weights"))


def test_an_operator_that_the_edge_tpu_lacks_is_found_in_the_float_model() -> None:
    import keras

    layers = keras.layers
    model = keras.Sequential([layers.Input((4, 4, 1)), layers.Conv2D(2, 3), layers.Activation("elu")])
    raw = apply_recipe(find_recipe("float32"), model, RecipeData(None, None), seed=0).model
    (finding,) = check_ops(TARGETS["edgetpu"], raw)
    assert (finding.code, finding.where) == ("unsupported_ops", ("ELU",))
    assert check_ops(TARGETS["cortex-m"], raw) == ()


def test_a_microcontroller_runs_it_as_the_reference_kernels_do(files, digit_task) -> None:
    pytest.importorskip("tflite_micro", reason="needs the extra `micro`")
    from edgeloop.backends import open_backend
    from edgeloop.quantization import quantize
    from edgeloop_converters.micro import run_micro
    from edgeloop_converters.tflite import run

    x = digit_task.held_out.x[:5] / 16
    stored = quantize(open_backend(files["int8"]).inputs[0], x)
    found = run_micro(files["int8"], stored, run(files["int8"], x, kernels="reference", raw=True)[0])
    assert found.samples == 5
    assert 1024 < found.arena_bytes < 64 * 1024
    assert found.max_steps <= 2
