from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import ConfigError
from edgeloop_converters.passes import prune_channels

pytestmark = pytest.mark.tf


def silence(model, channels):
    """Zero all weights of the named layers that belong to the given leaving channels."""
    for name, dead in channels.items():
        layer = model.get_layer(name)
        weights = layer.get_weights()
        kind = type(layer).__name__
        for position, weight in enumerate(weights):
            if kind == "DepthwiseConv2D" and weight.ndim == 4:
                weight[:, :, dead] = 0
            elif kind == "DepthwiseConv2D":
                weight.reshape(-1, layer.depth_multiplier)[dead] = 0
            elif kind == "Conv2DTranspose" and weight.ndim == 4:
                weight[:, :, dead] = 0
            elif not (kind == "SeparableConv2D" and position == 0) and not (
                kind == "BatchNormalization" and position > 1
            ):
                weight[..., dead] = 0
        layer.set_weights(weights)


def test_removing_silent_channels_changes_no_output(mixed_network, rng):
    trunk = [0, 2, 5, 7]
    silence(mixed_network, dict.fromkeys(["stem", "stem_bn", "branch", "depthwise"], trunk))
    silence(mixed_network, {"pointwise": list(range(0, 16, 2)), "separable": [1, 2, 3, 6]})
    silence(mixed_network, {"transposed": [0, 1, 2, 3], "conv1d": [4, 5, 6, 7], "hidden": [0, 3, 4, 5, 8, 11]})
    x = rng.normal(size=(5, 8, 8, 3)).astype("float32")

    pruned = prune_channels(mixed_network, ratio=0.5, round_to=1)

    np.testing.assert_allclose(pruned.model.predict(x, verbose=0), mixed_network.predict(x, verbose=0), atol=1e-5)
    after = {layer.layer: (layer.before, layer.after) for layer in pruned.report.layers}
    assert after["stem"] == after["branch"] == after["separable"] == after["conv1d"] == (8, 4)
    assert after["pointwise"] == (16, 8)
    assert after["hidden"] == (12, 6)
    assert after["answer"] == (3, 3)
    assert pruned.report.params_after == pruned.model.count_params() < pruned.report.params_before / 3


def test_the_model_passed_in_is_left_as_it_was(mixed_network):
    before = mixed_network.get_weights()

    prune_channels(mixed_network, ratio=0.5)

    for now, then in zip(mixed_network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_names_and_shapes_at_the_outside_stay(mixed_network):
    pruned = prune_channels(mixed_network, ratio=0.6).model

    assert pruned.output_names == ["answer"]
    assert pruned.inputs[0].name == "image"
    assert pruned.input_shape == (None, 8, 8, 3)
    assert pruned.output_shape == (None, 3)
    assert pruned.name == "mixed"


def test_channels_left_are_rounded_up_and_never_below_the_least(mixed_network):
    report = prune_channels(mixed_network, ratio=0.9, round_to=4, min_channels=6).report
    finer = prune_channels(mixed_network, ratio=0.4, round_to=1, min_channels=1).report

    assert {layer.after for layer in report.layers if layer.layer != "answer"} == {8}
    assert {layer.layer: layer.after for layer in finer.layers}["pointwise"] == 10


def test_a_ratio_by_layer_prunes_its_group_and_no_other(mixed_network):
    report = prune_channels(mixed_network, ratio={"branch": 0.5}).report

    changed = {layer.layer for layer in report.layers if layer.after < layer.before}
    assert changed == {"stem", "branch"}


def test_a_layer_called_twice_is_pruned_alike_for_both_calls(rng):
    import keras

    layers = keras.layers
    left, right = layers.Input((5,), name="left"), layers.Input((5,), name="right")
    shared = layers.Dense(8, name="shared")
    x = layers.Concatenate()([shared(left), shared(right)])
    model = keras.Model([left, right], layers.Dense(2)(x))
    silence(model, {"shared": [1, 3, 5, 7]})
    data = [rng.normal(size=(4, 5)).astype("float32") for _ in range(2)]

    pruned = prune_channels(model, ratio=0.5)

    np.testing.assert_allclose(pruned.model.predict(data, verbose=0), model.predict(data, verbose=0), atol=1e-5)
    assert {layer.layer: layer.after for layer in pruned.report.layers}["shared"] == 4


def test_channels_around_an_unknown_layer_are_kept_and_named(rng):
    import keras

    layers = keras.layers
    x = layers.Input((8, 8, 3))
    y = layers.Conv2D(8, 3, name="before")(x)
    y = layers.Conv2D(8, 3, name="after")(layers.LayerNormalization(name="mixing")(y))
    y = layers.Dense(8, activation="softmax", name="gate")(layers.GlobalAveragePooling2D()(y))
    model = keras.Model(x, layers.Dense(2)(y))

    report = prune_channels(model, ratio=0.5).report

    after = {layer.layer: layer.after for layer in report.layers}
    assert (after["before"], after["after"], after["gate"]) == (8, 4, 8)
    reasons = {group.layers: group.reason for group in report.protected}
    assert "'mixing' (LayerNormalization)" in reasons["before",]
    assert "softmax" in reasons["gate",]
    assert "output" in reasons[report.layers[-1].layer,]


def test_channels_are_followed_through_operations_of_keras_ops(rng):
    import keras

    ops = keras.ops
    x = keras.layers.Input((6, 6, 3))
    y = keras.layers.Conv2D(8, 3, name="made")(x)
    y = ops.concatenate([ops.relu(y) * 2.0, y], axis=-1)
    model = keras.Model(x, keras.layers.Dense(2)(ops.mean(y, axis=[1, 2])))
    silence(model, {"made": [0, 1, 6, 7]})
    data = rng.normal(size=(4, 6, 6, 3)).astype("float32")

    pruned = prune_channels(model, ratio=0.5).model

    assert pruned.get_layer("made").filters == 4
    expected = model.predict(data, verbose=0)
    np.testing.assert_allclose(pruned.predict(data, verbose=0), expected, atol=1e-5)


def test_a_reshape_that_mixes_channels_protects_them():
    import keras

    layers = keras.layers
    x = layers.Input((4, 4, 2))
    y = layers.Conv2D(8, 1, name="mixed")(x)
    y = layers.Reshape((32, 4), name="rows")(y)
    model = keras.Model(x, layers.Dense(2, name="answer")(layers.Flatten()(layers.Conv1D(8, 2, name="later")(y))))

    after = {layer.layer: layer.after for layer in prune_channels(model, ratio=0.5).report.layers}

    assert after == {"mixed": 8, "later": 4, "answer": 2}


def test_a_pruned_model_converts_to_tflite_and_is_smaller(mixed_network, rng):
    import tensorflow as tf

    def convert(model):
        return tf.lite.TFLiteConverter.from_keras_model(model).convert()

    pruned = prune_channels(mixed_network, ratio=0.5).model
    content = convert(pruned)

    assert len(content) < 0.7 * len(convert(mixed_network))
    x = rng.normal(size=(1, 8, 8, 3)).astype("float32")
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, pruned.predict(x, verbose=0), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 1.0}, "ratio is 1.0: it must be at least 0 and below 1"),
        ({"ratio": -0.1}, "below 1"),
        ({"ratio": float("nan")}, "below 1"),
        ({"ratio": {"answer": 0.5}}, "layer 'answer' has no channels that can be pruned: choose among"),
        ({"ratio": {"stem": 0.5, "branch": 0.25}}, "share their channels"),
        ({"ratio": 0.5, "round_to": 0}, "round_to is 0"),
        ({"ratio": 0.5, "min_channels": 0}, "min_channels is 0"),
    ],
)
def test_bad_options_are_refused(mixed_network, options, message):
    with pytest.raises(ConfigError, match=message):
        prune_channels(mixed_network, **options)
