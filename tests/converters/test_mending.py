from __future__ import annotations

import numpy as np
import pytest

from edgeloop import Runtime, read_artifact
from edgeloop_converters import Dataset
from edgeloop_converters.candidates import is_slower_than_float
from edgeloop_converters.conversion import try_convert
from edgeloop_converters.mending import with_schemes
from edgeloop_converters.packaging import Label
from edgeloop_converters.prepare import Prepared, prepare
from edgeloop_converters.proof import Drop
from edgeloop_converters.recipes import find_recipe
from edgeloop_converters.targets import TARGETS
from edgeloop_converters.tflite import LayerDiagnosis, describe

pytestmark = pytest.mark.tf
POINT = Drop(0.01, relative=False)


def table_task(load) -> Prepared:
    """A trained network with its normalization inside: columns of 0.1 and of 2,000 come in through one int8 scale."""
    import keras

    data = load()
    order = np.random.default_rng(0).permutation(len(data.data))
    x, y = data.data[order].astype("float32"), data.target[order].astype("int64")
    half = len(x) * 6 // 10
    keras.utils.set_random_seed(0)
    normalize = keras.layers.Normalization()
    normalize.adapt(x[:half])
    layers = keras.layers
    model = keras.Sequential(
        [
            layers.Input((x.shape[1],)),
            normalize,
            layers.Dense(32, activation="relu"),
            layers.Dense(16, activation="relu"),
            layers.Dense(int(y.max()) + 1, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
    model.fit(x[:half], y[:half], epochs=30, verbose=0)
    return prepare(model, Dataset(x[:half], y[:half]), Dataset(x[half:], y[half:]), seed=0)


@pytest.fixture(scope="module")
def tumours() -> Prepared:
    from sklearn.datasets import load_breast_cancer

    return table_task(load_breast_cancer)


def test_where_int8_alone_breaks_the_gate_the_worst_layers_go_back_and_it_holds(tumours) -> None:
    told: list[str] = []
    found = try_convert(tumours, Label("t"), max_drop=POINT, recipe="int8", tell=told.append)
    plain = found.candidates[0]
    assert plain.recipe == find_recipe("int8")
    assert plain.comparison.drop > 0.3
    assert found.verdict.holds, found.verdict.text
    assert found.drop <= 0.01
    assert any("rounding" in line for line in told)
    # some of six layers, at less than a quarter of the size more; the rest stays int8
    assert 1 <= len(found.mended) <= 4
    assert plain.evaluation.size_bytes < found.after.size_bytes < 1.25 * plain.evaluation.size_bytes
    dtypes = {t.dtype for t in describe(found.artifact.model).tensors if t.constant}
    assert "int8" in dtypes
    # what was measured is what a device gets
    with Runtime(read_artifact(found.artifact.to_bytes())) as runtime:
        answers = runtime.run_batch(tumours.evaluation.x).argmax(axis=1)
    assert (answers == tumours.evaluation.y).mean() == found.after.accuracy


def test_of_what_holds_the_smallest_is_taken_that_is_no_slower_than_float(tumours) -> None:
    found = try_convert(tumours, Label("t"), max_drop=Drop(0.08, relative=False), recipe="int8")
    holding = [c for c in found.candidates if c.verdict.holds]
    assert found.verdict.holds
    fast = [c for c in holding if not is_slower_than_float(c)]
    assert found.result.evaluation.size_bytes == min(c.evaluation.size_bytes for c in fast or holding)


def test_a_target_that_takes_integers_only_gets_no_float_layers(tumours) -> None:
    found = try_convert(tumours, Label("t"), max_drop=POINT, recipe="int8", target=TARGETS["cortex-m"])
    assert {s for c in found.candidates for s in c.recipe.compile.overrides.values()} == {"int16x8"}
    used = describe(found.artifact.model)
    assert not any("float" in used.tensors[i].dtype for op in used.ops for i in (*op.inputs, *op.outputs) if i >= 0)
    assert found.drop < found.candidates[0].comparison.drop


def test_the_size_budget_counts_while_mending(tumours) -> None:
    plain = try_convert(tumours, Label("t"), max_size_bytes=1_000_000, recipe="int8")
    limit = plain.candidates[0].size_bytes + 150  # float32 for two layers takes 240
    found = try_convert(tumours, Label("t"), max_drop=POINT, max_size_bytes=limit, recipe="int8")
    assert not found.verdict.holds
    assert any(c.comparison.drop <= 0.01 and c.size_bytes > limit for c in found.candidates)


def test_layers_are_put_back_by_their_exact_names() -> None:
    ranked = [LayerDiagnosis(name, "CONV_2D", 0, 0.0, 0.0, 0.0, 0.0, ()) for name in ("a.b", "net/c1;net/c1/Relu")]
    made = with_schemes(find_recipe("int8"), {"net/c1;net/c1/Relu": "float32", "a.b": "int16x8"}, ranked)
    assert made.name == "int8+int16x8@1+float32@2"
    assert made.compile.tool == "litert-quantizer"
    assert made.compile.overrides == {r"net/c1;net/c1/Relu;": "float32", r"a\.b;": "int16x8"}
