from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from browser import open_page
from edgeloop import Runtime, read_artifact
from edgeloop.errors import ConfigError, DataError, GateError, ModelError
from edgeloop_converters import Dataset, convert
from edgeloop_converters.attempts import Limits
from edgeloop_converters.conversion import Converted, try_convert
from edgeloop_converters.explaining import explain
from edgeloop_converters.facts import facts_of
from edgeloop_converters.packaging import Label
from edgeloop_converters.prepare import prepare, read_drop, scores_of
from edgeloop_converters.proof import Drop, find_metric, predicted_classes
from edgeloop_converters.recipes import Compile, Recipe, RecipeData, apply_recipe, find_recipe, parse_recipe
from edgeloop_converters.report import render
from edgeloop_converters.targets import TARGETS

pytestmark = pytest.mark.tf
HERE = Limits(workers=0)  # trials in this process: one TensorFlow for all tests


@pytest.fixture(scope="module")
def plain(digit_task) -> Converted:
    model, train, held_out, steps = digit_task
    return convert(model, train, held_out, name="digits", preprocessing=steps, summary="image", max_drop=0.02)


@pytest.fixture(scope="module")
def prepared(digit_task):
    return prepare(digit_task.model, digit_task.train, digit_task.held_out, preprocessing=digit_task.steps, seed=0)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    """Trials that several searches share are done once."""
    return tmp_path_factory.mktemp("trials")


def test_an_artifact_holds_its_gate_and_runs_as_was_measured(plain, digit_task) -> None:
    assert plain.before.metric == "accuracy"
    assert plain.drop <= 0.02
    assert plain.after.size_bytes < plain.before.size_bytes / 2.5
    with Runtime(read_artifact(plain.artifact.to_bytes())) as runtime:
        answers = runtime.run_batch(digit_task.held_out.x).argmax(axis=1)
    assert (answers == digit_task.held_out.y).mean() == plain.after.accuracy
    manifest = plain.artifact.manifest
    assert manifest.recipe == find_recipe("int8").stored(0)
    assert manifest.metrics["accuracy"] == plain.after.accuracy
    assert manifest.baseline is not None


def test_the_stored_recipe_makes_the_same_bytes_again(plain, digit_task) -> None:
    stored = plain.artifact.manifest.recipe
    model, train, held_out, steps = digit_task
    again = convert(
        model, train, held_out, name="again", preprocessing=steps, recipe=parse_recipe(stored.name, stored.steps)
    )
    assert again.artifact.model == plain.artifact.model


def test_a_drop_that_is_missed_is_an_error_with_both_sides(digit_task) -> None:
    model, train, held_out, steps = digit_task
    squeezed = parse_recipe("broken", [{"step": "prune", "ratio": 0.75}, {"step": "compile", "scheme": "int8"}])
    with pytest.raises(GateError, match=r"accuracy drops by 0\.\d+, from 0\.9.* to .*: nothing was written"):
        convert(model, train, held_out, name="d", preprocessing=steps, recipe=squeezed)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: Dataset(d.x[:, :4], d.y), r"shape \(4, 8, 1\) from samples of .* takes .*\(8, 8, 1\)"),
        (lambda d: Dataset(d.x, d.y + 5), r"has the label 1\d .*, the model has 10 classes"),
        (lambda d: Dataset(d.x), "has no labels"),
    ],
)
def test_data_that_does_not_fit_the_model_is_refused(digit_task, change, says) -> None:
    model, train, held_out, steps = digit_task
    with pytest.raises(DataError, match=says):
        convert(model, train, change(held_out), name="d", preprocessing=steps)


def test_an_integer_file_is_packaged_as_it_is(plain, digit_task) -> None:
    _, train, held_out, steps = digit_task
    packaged = convert(plain.artifact.model, train, held_out, name="d", preprocessing=steps)
    assert packaged.artifact.model == plain.artifact.model
    assert packaged.recipe.name == "as-is"


def test_a_search_ends_on_the_first_rung_that_holds(prepared, cache) -> None:
    told: list[str] = []
    found = try_convert(
        prepared, Label("d", summary="image"), max_drop=Drop(0.02, relative=False), max_size_bytes=60_000,
        target=TARGETS["edgetpu"], limits=HERE, cache=cache, tell=told.append,
    )  # fmt: skip
    assert found.verdict.holds
    assert {c.recipe.name for c in found.candidates} == {"int8", "int8-litert", "int8-litert-compact"}
    assert [s.partition(":")[0] for s in found.skipped] == ["dynamic-int8", "float16"]
    assert found.after.size_bytes == min(c.evaluation.size_bytes for c in found.candidates)
    assert not any("rung 2" in line or "rung 3" in line for line in told)


def test_a_search_prunes_as_much_as_the_size_takes_and_trains_it(digit_task, cache) -> None:
    model, train, held_out, steps = digit_task
    prepared = prepare(model, train.take(np.arange(500)), held_out, preprocessing=steps, seed=0)  # trains half as long
    arguments = {"max_drop": Drop(0.05, relative=False), "max_size_bytes": 24_000, "limits": HERE, "cache": cache}
    found = try_convert(prepared, Label("d", summary="image"), **arguments)
    assert found.verdict.holds, found.verdict.text
    assert found.artifact.size_bytes <= 24_000
    assert [s.__struct_config__.tag for s in found.recipe.steps] == ["prune", "distil", "compile"]
    assert any(c.is_proxy for c in found.candidates)
    assert found.result in found.front or found.result.recipe in [c.recipe for c in found.front]
    told: list[str] = []
    again = try_convert(prepared, Label("d", summary="image"), **arguments, tell=told.append)
    assert again.artifact.model == found.artifact.model  # all of it from the cache


def test_a_budget_that_cannot_be_met_is_named_with_the_nearest(prepared, cache) -> None:
    found = try_convert(prepared, Label("d", summary="image"), max_size_bytes=2_000, limits=HERE, cache=cache)
    assert [b.name for b in found.verdict.budgets if not b.holds] == ["max_size_bytes"]
    smallest = min((c for c in found.candidates if not c.is_proxy), key=lambda c: c.size_bytes)
    assert found.recipe == smallest.recipe
    assert any("even without 75% of the channels" in s for s in found.skipped)


def test_a_float_file_is_searched_too_and_what_needs_keras_is_said(digit_task) -> None:
    _, train, held_out, steps = digit_task
    ready = prepare(_float_file(digit_task), train, held_out, preprocessing=steps, seed=0)
    found = try_convert(ready, Label("d", summary="image"), max_size_bytes=2_000, limits=HERE)
    assert found.recipe.compile.tool == "litert-quantizer"
    assert any(s.startswith("pruning and distillation: they take a Keras model") for s in found.skipped)


def _float_file(task) -> bytes:
    return apply_recipe(find_recipe("float32"), task.model, RecipeData(task.train.x, task.train.x), seed=0).model


def test_a_target_without_an_operator_of_the_model_is_refused_before_anything_is_tried(digit_task, cache) -> None:
    import keras

    model = keras.Sequential([keras.layers.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "elu")])
    ready = prepare(model, digit_task.train, digit_task.held_out, seed=0)
    told: list[str] = []
    with pytest.raises(ModelError, match="edgetpu has no ELU"):
        try_convert(ready, Label("d"), target=TARGETS["edgetpu"], limits=HERE, tell=told.append)
    assert told == []


def test_a_regression_is_judged_by_its_own_metric() -> None:
    import keras

    rng = np.random.default_rng(1)
    x = rng.normal(size=(300, 4)).astype("float32")
    y = x @ np.array([1.0, -2.0, 0.5, 0.0])
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)])
    model.set_weights([np.array([[1.0], [-2.0], [0.5], [0.0]], "float32"), np.zeros(1, "float32")])
    made = convert(model, Dataset(x[:200], y[:200]), Dataset(x[200:], y[200:]), name="r", max_drop=0.1)
    assert made.after.metric == "rmse"
    assert made.before.value < 1e-3 < made.after.value < 0.1
    assert made.artifact.manifest.task == "regression"
    assert made.artifact.manifest.labels == ()


def test_an_autoencoder_is_scored_by_its_reconstruction() -> None:
    x = np.zeros((3, 2), np.float32)
    outputs = np.array([[0, 0], [1, 1], [0, 2]], np.float32)
    np.testing.assert_allclose(scores_of(find_metric("roc_auc"), outputs, x), [0, 1, 2])
    assert scores_of(find_metric("rmse"), outputs, x) is outputs


def test_a_drop_in_percent_is_points_of_a_share_and_relative_of_an_error() -> None:
    assert read_drop("1%", find_metric("accuracy")) == Drop(0.01, relative=False)
    assert read_drop("1%", find_metric("roc_auc")) == Drop(0.01, relative=False)
    assert read_drop("1%", find_metric("rmse")) == Drop(0.01, relative=True)
    assert read_drop("0.5pt", find_metric("accuracy")) == Drop(0.005, relative=False)
    with pytest.raises(ConfigError):
        read_drop("some", find_metric("accuracy"))


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        names = dict(attrs)
        assert not str(names.get("src", "")).startswith("http")
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def reported(prepared, cache) -> Converted:
    return try_convert(
        prepared, Label("d", summary="image"), max_drop=Drop(0.02, relative=False), max_size_bytes=60_000,
        limits=HERE, cache=cache, thorough=True,
    )  # fmt: skip


def test_the_report_stands_alone_and_holds_every_part(reported) -> None:
    found, page = reported, render(reported)
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert tags.headings == [
        "Before and after", "What was tried", "Does its confidence mean what it says?", "By class",
        "Under small changes of the input", "What it looks at", "Layer by layer", "The file", "The data", "The recipe",
        "Where it comes from",
    ]  # fmt: skip
    facts = facts_of(found)
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert facts["holds"] is True
    assert {c["recipe"]["name"] for c in facts["candidates"]} >= {"int8", "int8-litert", "float16"}


def test_the_report_opens_in_a_browser_without_network_and_draws_its_plots(reported, tmp_path) -> None:
    page = tmp_path / "report.html"
    page.write_text(render(reported))
    shown = open_page(page)
    assert shown.count("main-svg") >= 5
    assert shown.count('alt="input"') == len(reported.explanations[0].looks)


def test_both_models_are_shown_looking_at_a_handful_of_samples(reported, prepared) -> None:
    (explained,) = reported.explanations
    assert explained.kind == "image"
    assert {look.why for look in explained.looks} == {"changed most", "wrong", "right"}
    answers = predicted_classes(reported.result.outputs)
    for look in explained.looks:
        assert look.artifact.shape == look.original.shape == (8, 8)
        assert look.truth == str(prepared.y_eval[look.row])
        assert look.answers[1] == str(answers[look.row])
        assert (look.why == "wrong") <= (look.truth != look.answers[1])
        assert (look.why == "right") <= (look.truth == look.answers[1])
    shown = facts_of(reported)["explanations"][0]["looks"]
    assert np.shape(shown[0]["artifact"]) == (8, 8)


def test_an_explanation_does_with_the_time_that_it_has(reported, prepared) -> None:
    models = reported.result.model, reported.result.model
    outputs = reported.result.outputs, reported.result.outputs
    (short,) = explain(prepared, models, outputs, budget_s=0.0)
    assert len(short.looks) == 2


def test_a_remedy_says_what_it_costs_in_bytes_and_time(reported) -> None:
    assert reported.diagnosis is not None
    timed = {time.layer: time for time in reported.layer_times}
    costly = [d for d in reported.diagnosis.layers if any(c.changes_kernel for c in d.causes)]
    assert costly
    assert all(timed[d.layer].float_us > 0 and timed[d.layer].quantized_us > 0 for d in costly)
    assert "µs a call for this layer here" in render(reported)


def test_the_layers_of_an_equalized_model_are_compared_with_the_equalized_one(prepared, cache) -> None:
    recipe = Recipe("equalized", (Compile(scheme="int8", tool="litert-quantizer", equalize=True),))
    found = try_convert(prepared, Label("d", summary="image"), recipe=recipe, limits=HERE, cache=cache, thorough=True)
    assert found.diagnosis is not None
    # Against the original, whose channels have other scales, the first layers were off by 80 % and more.
    assert max(d.nrmse for d in found.diagnosis.layers) < 0.1


@pytest.fixture
def business(tmp_path, monkeypatch) -> str:
    """A user's own metric, in a module of its own."""
    (tmp_path / "our_business.py").write_text(
        "def cost(y, outputs):\n"
        "    return float(3.0 * (outputs.argmax(axis=1) != y).mean())\n\n\n"
        "cost.higher_is_better = False\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return "our_business:cost"


def test_a_business_metric_is_gated_and_the_artifact_still_is_a_classifier(digit_task, business) -> None:
    model, train, held_out, steps = digit_task
    made = convert(model, train, held_out, name="d", preprocessing=steps, metric=business, max_drop=0.1)
    assert made.after.metric == business
    measured = made.proof.artifact
    assert measured.value < 0.3 < 2 < measured.trivial  # nine of ten answers that ignore the input are wrong
    manifest = made.artifact.manifest
    assert (manifest.task, len(manifest.labels)) == ("classification", 10)
    assert manifest.metrics[business] == measured.value
    assert made.proof.temperature is not None  # it has probabilities, whatever is counted


def test_a_table_s_columns_are_ranked_for_both_models() -> None:
    import keras

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3)).astype("float32")
    y = (x[:, 1] > 0).astype("int64")
    model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.set_weights([np.array([[0.1], [5.0], [0.0]], "float32"), np.zeros(1, "float32")])
    names = ("little", "all", "nothing")
    sets = [Dataset(x[s], y[s], feature_names=names) for s in (slice(0, 200), slice(200, None))]
    ready = prepare(model, *sets, seed=0)
    made = try_convert(ready, Label("t"), max_drop=Drop(0.05, relative=False), recipe="int8", thorough=True)
    (explained,) = made.explanations
    assert explained.original[0].name == "all"
    assert [i.name for i in explained.artifact] == [i.name for i in explained.original]
    assert explained.artifact[0].mean > 0.3
    assert "What it looks at" in render(made)
    with Runtime(made.artifact) as runtime:  # a single output: class 1 from a half on
        said = [runtime.run(row).index for row in x[200:260]]
    assert np.mean(said == y[200:260]) > 0.9
