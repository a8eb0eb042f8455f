from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import ConfigError, DataError, ModelError
from edgeloop_converters.recipes import CATALOGUE, RecipeData, apply_recipe, find_recipe, parse_recipe
from edgeloop_converters.recipes.augment import augmentation
from edgeloop_converters.tflite import describe, run, tidy

pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def data(digit_task) -> RecipeData:
    x = digit_task.train.x / 16
    return RecipeData(x[:50], x[:200], digit_task.train.y[:200])


@pytest.fixture(scope="module")
def float_file(digit_task, data) -> bytes:
    return apply_recipe(find_recipe("float32"), digit_task.model, data, seed=0).model


def test_every_compile_only_recipe_gives_the_scheme_it_names(digit_task, data, float_file) -> None:
    wanted = {
        "int8": "int8",
        "int8-litert": "int8",
        "int16x8": "int16",
        "dynamic-int8": "float32",
        "float16": "float32",
    }
    for name, dtype in wanted.items():
        facts = describe(apply_recipe(find_recipe(name), digit_task.model, data, seed=0).model)
        assert {facts.tensors[i].dtype for i in (*facts.inputs, *facts.outputs)} == {dtype}, name
        assert facts.size_bytes < 0.65 * len(float_file), name
        assert not {"SHAPE", "PACK"} & set(facts.op_counts), name


def test_passes_and_compilation_give_a_model_that_runs(digit_task, data, float_file) -> None:
    recipe = parse_recipe(
        "all",
        [
            {"step": "prune", "ratio": 0.5},
            {"step": "sparsify", "sparsity": 0.3},
            {"step": "fine_tune", "epochs": 1, "augment": "shift"},
            {"step": "equalize"},
            {"step": "quantization_aware", "epochs": 1},
            {"step": "correct_bias"},
            {"step": "compile", "scheme": "int8", "tool": "litert-quantizer"},
        ],
    )
    applied = apply_recipe(recipe, digit_task.model, data, seed=0)
    assert [n.partition(":")[0] for n in applied.notes][:6] == [s.__struct_config__.tag for s in recipe.passes]
    assert describe(applied.model).parameters < 0.6 * describe(float_file).parameters
    assert applied.float_model is not None
    both = [run(m, data.x[:20])[0] for m in (applied.model, applied.float_model)]
    assert np.abs(both[0] - both[1]).max() < 0.2


def test_a_float_file_is_compiled_as_the_keras_model_is(digit_task, data, float_file) -> None:
    from_file = apply_recipe(find_recipe("int8-litert"), float_file, data, seed=0).model
    from_keras = apply_recipe(find_recipe("int8-litert"), digit_task.model, data, seed=0).model
    assert from_file == from_keras


def test_a_float_file_takes_no_passes_and_no_tensorflow(float_file, data) -> None:
    with pytest.raises(ConfigError, match="prune takes a Keras model"):
        apply_recipe(find_recipe("prune-50-distil-int8"), float_file, data, seed=0)
    with pytest.raises(ConfigError, match="use tool 'litert-quantizer'"):
        apply_recipe(find_recipe("int8"), float_file, data, seed=0)
    assert apply_recipe(find_recipe("as-is"), float_file, data, seed=0).model == float_file


def test_labels_that_are_missing_are_named_before_anything_is_done(digit_task, data) -> None:
    unlabelled = RecipeData(data.calibration, data.x)
    with pytest.raises(DataError, match="learns from labels"):
        apply_recipe(CATALOGUE["int8-qat"].recipe, digit_task.model, unlabelled, seed=0)


def test_an_override_that_matches_nothing_is_refused(digit_task, data) -> None:
    steps = [{"step": "compile", "scheme": "int8", "tool": "litert-quantizer", "overrides": {"nowhere": "float32"}}]
    with pytest.raises((ConfigError, ModelError), match="matches no layer"):
        apply_recipe(parse_recipe("r", steps), digit_task.model, data, seed=0)


def test_tidying_changes_no_answer(digit_task, data) -> None:
    from edgeloop_converters.compile import compile_keras

    raw = compile_keras(digit_task.model, "int8", [np.asarray(data.calibration, np.float32)])
    small = tidy(raw)
    assert len(small) < len(raw)
    np.testing.assert_array_equal(run(raw, data.x[:20], raw=True)[0], run(small, data.x[:20], raw=True)[0])
    facts, before = describe(small), describe(raw)
    assert [facts.name(i) for i in (*facts.inputs, *facts.outputs)] == [
        before.name(i) for i in (*before.inputs, *before.outputs)
    ]
    assert len({t.name for t in facts.tensors}) == len(facts.tensors)


@pytest.mark.parametrize("name", ["shift", "flip_shift", "noise"])
def test_an_augmentation_keeps_shape_and_dtype_and_changes_the_batch(name) -> None:
    batch = np.random.default_rng(0).random((6, 16, 16, 3), dtype=np.float32)
    change = augmentation(name)
    assert change is not None
    made = [change(batch, np.random.default_rng(seed)) for seed in range(4)]
    assert all(m.shape == batch.shape and m.dtype == batch.dtype for m in made)
    assert any(not np.array_equal(m, batch) for m in made)
    np.testing.assert_array_equal(made[1], change(batch, np.random.default_rng(1)))
