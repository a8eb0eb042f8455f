"""The models that the tests look at: published ones, and small nets, converted once a session."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from edgeloop_converters.tflite import repair, restore_float
from tflite_samples import Converted, Published, images


@pytest.fixture(scope="session")
def published(shared_dir: Path) -> Published:
    names = ("ad01_float32", "ad01_int8", "kws_float32", "kws_int8")
    return Published(*((shared_dir / "models" / f"{name}.tflite").read_bytes() for name in names))


@pytest.fixture(scope="session")
def kws_real(published: Published) -> bytes:
    return restore_float(repair(published.kws_hybrid).model).model


@pytest.fixture(scope="session")
def converted() -> Converted:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(7)
    layers = keras.layers
    x = inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", kernel_initializer="he_normal")(x)
    for channels in (16, 32, 32):
        x = layers.DepthwiseConv2D(3, padding="same", activation="relu", depthwise_initializer="he_normal")(x)
        x = layers.Conv2D(channels, 1, activation="relu", kernel_initializer="he_normal")(x)
    x = layers.GlobalAveragePooling2D()(x)
    net = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    net.layers[-1].kernel.assign(net.layers[-1].kernel * 4)  # so that its answers differ
    rnn = keras.Sequential([keras.Input((8, 3), batch_size=1), layers.LSTM(4), layers.Dense(2)])

    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    both = layers.concatenate([layers.Dense(8, activation="relu")(left), layers.Dense(8)(right)])
    exotic = keras.Model([left, right], layers.Dense(3)(keras.ops.cumsum(both, axis=1)))

    class Stream(tf.Module):  # type: ignore[misc]
        """Sums what it is given, from call to call."""

        def __init__(self) -> None:
            self.total = tf.Variable(tf.zeros((1, 4)))

        @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])  # type: ignore[untyped-decorator]
        def step(self, x: Any) -> Any:
            return {"sum": self.total.assign_add(x) * 1.0}

    stream = Stream()
    streaming = tf.lite.TFLiteConverter.from_concrete_functions([stream.step.get_concrete_function()], stream)

    def convert(model: Any, **options: Any) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for name, value in options.items():
            setattr(converter, name, value)
        if options.get("inference_input_type") == tf.int8:
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        if options.pop("inference_type", None) == tf.float16:
            converter.target_spec.supported_types = [tf.float16]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of statistics that it doesn't need
            return bytes(converter.convert())

    small = [tf.lite.Optimize.DEFAULT]
    return Converted(
        real=convert(net),
        int8=convert(
            net,
            optimizations=small,
            representative_dataset=lambda: ([image[None]] for image in images(40, 1)),
            inference_input_type=tf.int8,
            inference_output_type=tf.int8,
        ),
        float16=convert(net, optimizations=small, inference_type=tf.float16),
        dynamic=convert(net, optimizations=small),
        lstm=convert(rnn),
        exotic=convert(exotic),
        stream=bytes(streaming.convert()),
    )
