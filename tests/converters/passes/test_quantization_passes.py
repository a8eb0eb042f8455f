"""Folding, equalization, bias correction and quantization-aware training."""

from __future__ import annotations

import numpy as np
import pytest

from edgeloop.errors import ConfigError, DataError
from edgeloop_converters.passes import correct_bias, equalize, fine_tune, fold_batch_norm, quantization_aware
from edgeloop_converters.passes.channels import kind_of
from edgeloop_converters.passes.graph import flatten
from edgeloop_converters.passes.scaling import SCALABLE, quantize_weights, range_out

pytestmark = pytest.mark.tf


def with_rounded_weights(model, bits, *, per_channel):
    """The model with the kernels that `bits`-bit integers would hold."""
    rounded = flatten(model)
    for layer in rounded.layers:
        if kind_of(layer) in SCALABLE:
            layer.set_weights(quantize_weights(layer, layer.get_weights(), bits, per_channel=per_channel))
    return rounded


def test_folding_leaves_no_normalization_and_the_same_outputs(folded_pair_network, rng):
    x = rng.normal(size=(5, 6, 6, 2)).astype("float32")

    folded = fold_batch_norm(folded_pair_network)

    assert folded.report.folded == ("first_bn", "depthwise_bn", "pointwise_bn")
    assert not any(kind_of(layer) == "BatchNormalization" for layer in folded.model.layers)
    expected = folded_pair_network.predict(x, verbose=0)
    np.testing.assert_allclose(folded.model.predict(x, verbose=0), expected, atol=1e-4)


def test_what_cannot_be_folded_stays_and_is_named(rng):
    import keras

    layers = keras.layers
    x = layers.Input((4,))
    y = layers.Dense(4, activation="relu", name="active")(layers.BatchNormalization(name="first")(x))
    y = layers.BatchNormalization(name="after_relu")(y)
    z = layers.Dense(4, name="read_twice")(y)
    y = layers.Add()([z, layers.BatchNormalization(name="beside")(z)])
    y = layers.BatchNormalization(name="last")(layers.Conv1D(2, 1)(layers.Reshape((1, 4))(y)))
    model = keras.Model(x, y)
    data = rng.normal(size=(3, 4)).astype("float32")

    folded = fold_batch_norm(model)

    assert {skipped.layer for skipped in folded.report.skipped} == {"first", "after_relu", "beside"}
    assert folded.model.output_names == ["last"]
    np.testing.assert_allclose(folded.model.predict(data, verbose=0), model.predict(data, verbose=0), atol=1e-5)


def test_equalization_keeps_the_outputs_and_evens_out_the_ranges(folded_pair_network, rng):
    folded = fold_batch_norm(folded_pair_network).model
    first = folded.get_layer("first")
    kernel, bias = first.get_weights()
    uneven = np.array([1, 30, 0.02, 5, 1, 0.1])
    first.set_weights([kernel * uneven, bias * uneven])
    x = rng.normal(size=(5, 6, 6, 2)).astype("float32")

    equal = equalize(folded)

    assert equal.report.pairs == (("first", "depthwise"), ("depthwise", "pointwise"), ("pointwise", "answer"))
    expected = folded.predict(x, verbose=0)
    np.testing.assert_allclose(equal.model.predict(x, verbose=0), expected, atol=1e-4, rtol=1e-4)

    def unevenness(model):
        ranges = range_out(model.get_layer("first"), model.get_layer("first").get_weights())
        return ranges.max() / ranges.min()

    assert unevenness(equal.model) < unevenness(folded) / 10

    def error(model):
        rounded = with_rounded_weights(model, 8, per_channel=False)
        return np.square(rounded.predict(x, verbose=0) - expected).mean()

    assert error(equal.model) < error(folded)


def test_equalization_leaves_layers_before_a_relu6_or_normalization_alone(rng):
    import keras

    layers = keras.layers
    x = layers.Input((6, 6, 2))
    y = layers.ReLU(max_value=6, name="clip")(layers.Conv2D(4, 3, name="clipped")(x))
    y = layers.BatchNormalization(name="bn")(layers.Conv2D(4, 3, name="normalized")(y))
    model = keras.Model(x, layers.Dense(2, name="answer")(layers.Flatten()(y)))

    report = equalize(model).report

    reasons = {skipped.layer: skipped.reason for skipped in report.skipped}
    assert report.pairs == ()
    assert "'clip'" in reasons["clipped"]
    assert "fold_batch_norm first" in reasons["normalized"]
    assert "output" in reasons["answer"]


def test_bias_correction_brings_the_mean_outputs_back(folded_pair_network, rng):
    folded = fold_batch_norm(folded_pair_network).model
    x = rng.normal(size=(64, 6, 6, 2)).astype("float32")

    corrected = correct_bias(folded, x, bits=4, per_channel=False)

    wanted = folded.predict(x, verbose=0).mean(axis=0)

    def shift(model):
        rounded = with_rounded_weights(model, 4, per_channel=False)
        return np.abs(rounded.predict(x, verbose=0).mean(axis=0) - wanted).max()

    assert shift(corrected.model) < 1e-4 < shift(folded)
    assert {layer.layer for layer in corrected.report.layers} == {"first", "depthwise", "pointwise", "answer"}
    for name in ("first", "answer"):
        np.testing.assert_array_equal(corrected.model.get_layer(name).kernel, folded.get_layer(name).kernel)


def test_bias_correction_gives_a_bias_to_layers_without_one(digit_network, digits):
    corrected = correct_bias(digit_network, digits[0][:32], bits=4).model

    assert corrected.get_layer("first").use_bias


def test_quantization_aware_training_lowers_the_error_of_rounded_weights(digit_network, digits):
    import keras

    x, y = digits
    trained = fine_tune(digit_network, x, y, epochs=12, learning_rate=1e-2, seed=0).model
    aware = quantization_aware(trained, x, y, epochs=6, bits=2, learning_rate=2e-3, seed=0)

    def loss(model):
        rounded = with_rounded_weights(fold_batch_norm(model).model, 2, per_channel=True)
        found = keras.losses.sparse_categorical_crossentropy(y, rounded.predict(x, verbose=0))
        return float(np.mean(found))

    assert loss(aware.model) < 0.8 * loss(trained)
    assert {type(layer).__module__.split(".")[0] for layer in aware.model.layers} == {"keras"}
    assert aware.model.output_names == ["answer"]


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")  # the converter's own words
def test_a_model_trained_for_int8_answers_the_same_as_int8(digit_network, digits):
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    x, y = digits
    trained = fine_tune(digit_network, x, y, epochs=12, learning_rate=1e-2, seed=0).model
    aware = quantization_aware(trained, x, y, epochs=1, seed=0).model
    converter = tf.lite.TFLiteConverter.from_keras_model(aware)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([row[None]] for row in x[:50])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    interpreter = Interpreter(model_content=converter.convert())
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    answers = interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).argmax(axis=1)

    assert (answers == y).mean() > 0.9
    assert (answers == aware.predict(x, verbose=0).argmax(axis=1)).mean() > 0.97


def test_networks_over_integer_tokens_of_any_length_can_be_trained_for_quantization(rng):
    import keras

    layers = keras.layers
    tokens = layers.Input((None,), dtype="int32", name="tokens")
    x = layers.LSTM(6, return_sequences=True)(layers.Embedding(20, 4)(tokens))
    model = keras.Model(tokens, layers.Dense(3, activation="softmax")(x))
    x, y = rng.integers(0, 20, (32, 5)), rng.integers(0, 3, (32, 5))

    aware = quantization_aware(model, x, y, epochs=8, learning_rate=3e-2, seed=0)

    assert aware.report.losses[-1] < aware.report.losses[0]


def test_bad_input_is_refused(digit_network, digits):
    x, y = digits
    with pytest.raises(ConfigError, match="bits is 1"):
        correct_bias(digit_network, x, bits=1)
    with pytest.raises(ConfigError, match="bits is 40"):
        quantization_aware(digit_network, x, y, epochs=1, bits=40)
    with pytest.raises(DataError, match="'image' has shape"):
        correct_bias(digit_network, x[:, :4])
