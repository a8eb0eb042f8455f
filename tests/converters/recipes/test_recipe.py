from __future__ import annotations

import msgspec
import pytest

from edgeloop.errors import ConfigError
from edgeloop_converters.recipes import CATALOGUE, Compile, find_recipe, parse_recipe, read_recipe

COMPILE = {"step": "compile", "scheme": "int8"}
DISTIL = {"step": "distil", "epochs": 2}
PRUNE = {"step": "prune", "ratio": 0.5}
QAT = {"step": "quantization_aware", "epochs": 1}


def test_a_recipe_survives_the_manifest() -> None:
    for entry in CATALOGUE.values():
        stored = entry.recipe.stored(seed=7)
        assert stored.seed == 7
        assert parse_recipe(stored.name, stored.steps) == entry.recipe


def test_the_stored_form_states_every_option() -> None:
    (step,) = find_recipe("int8").stored(0).steps
    assert set(step) == {"step", *Compile.__struct_fields__}


def test_a_toml_file_is_a_recipe(tmp_path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[steps]]\nstep = "prune"\nratio = 0.5\n\n[[steps]]\nstep = "distil"\nepochs = 3\n\n'
        '[[steps]]\nstep = "compile"\nscheme = "int8"\ntool = "litert-quantizer"\noverrides = {"softmax" = "float32"}\n'
    )
    recipe = find_recipe(str(path))
    assert recipe.name == "mine"
    assert [s.__struct_config__.tag for s in recipe.steps] == ["prune", "distil", "compile"]
    assert recipe.compile.overrides == {"softmax": "float32"}
    assert recipe.trains
    assert not recipe.needs_labels


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ([{"step": "shrink"}, COMPILE], "unknown step 'shrink'; the steps are prune, factorize"),
        ([{**PRUNE, "amount": 1}, COMPILE], "its options are: ratio, round_to, min_channels"),
        ([{"step": "prune", "ratio": 1.5}, COMPILE], "step 1 .prune.: Expected `float` < 1.0"),
        ([PRUNE], "last step must be compile"),
        ([], "last step must be compile"),
        ([COMPILE, COMPILE], "compile stands after compile"),
        ([COMPILE, PRUNE, COMPILE], "prune stands after compile"),
        ([QAT, DISTIL, COMPILE], "distil after quantization_aware would undo it: train first"),
        ([{"step": "sparsify", "sparsity": 0.5}, PRUNE, COMPILE], "prune after sparsify would undo it"),
        ([{"step": "correct_bias"}, {"step": "fold"}, COMPILE], "fold after correct_bias would undo it"),
        ([{"step": "factorize"}, COMPILE], "factorize takes one of rank and energy"),
        ([{**COMPILE, "ranges": "least_error"}], "TensorFlow's converter doesn't know the option 'ranges'"),
        ([{**COMPILE, "scheme": "weight_only_int4"}], "doesn't know the scheme 'weight_only_int4'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(steps, says) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_recipe("r", steps)


def test_pruning_and_distilling_by_turns_is_sensible() -> None:
    parse_recipe("r", [PRUNE, DISTIL, PRUNE, DISTIL, QAT, COMPILE])


def test_labels_are_needed_where_a_step_learns_from_them() -> None:
    assert parse_recipe("r", [{**DISTIL, "label_weight": 0.3}, COMPILE]).needs_labels
    assert parse_recipe("r", [QAT, COMPILE]).needs_labels


def test_an_unknown_name_lists_the_catalogue() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown recipe 'int9': use one of float32, .*int8-litert.* or a \.toml file"
    ):
        find_recipe("int9")


@pytest.mark.parametrize("text", ["steps = 3", 'title = "x"\n[[steps]]\nstep = "compile"', "not toml ["])
def test_a_file_that_is_no_recipe_is_refused(tmp_path, text) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"bad\.toml"):
        read_recipe(path)


def test_steps_decode_from_json_as_they_were() -> None:
    recipe = find_recipe("prune-50-distil-int8")
    assert msgspec.json.decode(msgspec.json.encode(recipe), type=type(recipe)) == recipe
