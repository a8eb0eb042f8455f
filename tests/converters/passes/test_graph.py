from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import ModelError
from edgeloop_converters.passes.graph import flatten, read_calls

pytestmark = pytest.mark.tf


def test_a_copy_answers_as_the_original_and_shares_no_weights(mixed_network, rng):
    x = rng.normal(size=(3, 8, 8, 3)).astype("float32")
    before = mixed_network.predict(x, verbose=0)

    copy = flatten(mixed_network)
    for weight in copy.weights:
        weight.assign(np.zeros(weight.shape))

    np.testing.assert_array_equal(mixed_network.predict(x, verbose=0), before)
    np.testing.assert_allclose(flatten(mixed_network).predict(x, verbose=0), before, atol=1e-6)


def test_nested_models_dissolve_and_outputs_keep_their_names(rng):
    import keras

    layers = keras.layers
    body = keras.Sequential([layers.Input((4,)), layers.Dense(5, activation="relu", name="dense")], name="body")
    head_in = layers.Input((5,))
    head = keras.Model(head_in, layers.Dense(2, name="dense")(head_in), name="head")
    x = layers.Input((4,), name="features")
    model = keras.Model(
        {"features": x}, {"head": head(body(x)), "again": layers.Dense(1, name="again")(body(inputs=x))}
    )
    data = {"features": rng.normal(size=(6, 4)).astype("float32")}

    flat = flatten(model)

    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    assert flat.output_names == model.output_names
    assert len([call for call in read_calls(flat) if call.layer.name == "dense"]) == 2  # the shared body
    expected, found = model.predict(data, verbose=0), flat.predict(data, verbose=0)
    for name in ("head", "again"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_normalization_keeps_what_it_was_adapted_to(rng):
    import keras

    x = rng.normal(3, 2, size=(20, 4)).astype("float32")
    normalization = keras.layers.Normalization()
    normalization.adapt(x)
    model = keras.Sequential([keras.layers.Input((4,)), normalization, keras.layers.Dense(2)])

    np.testing.assert_allclose(flatten(model).predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-5)


def test_operations_of_keras_ops_are_copied(rng):
    import keras

    x = keras.layers.Input((4,))
    hidden = keras.layers.Dense(4)(x)
    model = keras.Model(x, keras.layers.Dense(2)(keras.ops.relu(hidden) * 2.0 + x))
    data = rng.normal(size=(5, 4)).astype("float32")

    np.testing.assert_allclose(flatten(model).predict(data, verbose=0), model.predict(data, verbose=0), atol=1e-6)


def test_unbuilt_subclassed_and_foreign_models_are_refused():
    import keras

    class Own(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ModelError, match=r"isn't built: give it a keras\.Input"):
        flatten(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ModelError, match="subclassed"):
        flatten(Own(name="own"))
    with pytest.raises(ModelError, match=r"expected a keras\.Model"):
        flatten("model.keras")


def test_a_layer_that_cannot_be_copied_is_named():
    import keras

    class Odd(keras.layers.Layer):
        def __init__(self, table, **kwargs):
            super().__init__(**kwargs)
            self.table = table

        def call(self, inputs):
            return inputs * self.table

        def get_config(self):
            return {"name": self.name}

    model = keras.Sequential([keras.layers.Input((2,)), Odd(2.0, name="odd")])

    with pytest.raises(ModelError, match=r"'odd' \(Odd\) can't be copied"):
        flatten(model)
