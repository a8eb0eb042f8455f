"""What was loaded goes through TensorFlow's converter, and its refusals name the op."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeloop.backends import open_backend
from edgeloop.errors import ModelError
from edgeloop_converters import load_model
from edgeloop_converters.compile import compile_keras, convertible
from edgeloop_converters.models import tflite_converter

pytestmark = pytest.mark.tf


def compiled_float(model: Any) -> bytes:
    given = convertible(model)
    return given if isinstance(given, bytes) else compile_keras(given, "float32")


def answers(flatbuffer: bytes, x: np.ndarray) -> np.ndarray:
    backend = open_backend(flatbuffer)
    return np.concatenate([backend.invoke([row[np.newaxis]])[0] for row in x])


def test_a_saved_model_computes_as_its_signature(shared_dir: Path) -> None:
    import tensorflow as tf

    path = shared_dir / "models" / "kws_savedmodel"
    compiled = compiled_float(load_model(path))
    x = (np.random.default_rng(0).normal(size=(8, 49, 10, 1)) * 10).astype(np.float32)
    truth = tf.saved_model.load(str(path)).signatures["serving_default"](tf.constant(x))["dense"].numpy()
    assert answers(compiled, x) == pytest.approx(truth, rel=1e-3, abs=1e-5)


def test_a_legacy_h5_file_computes_as_in_keras(shared_dir: Path) -> None:
    model = load_model(shared_dir / "models" / "ad01.h5")
    x = (np.random.default_rng(0).normal(size=(8, 640)) * 5).astype(np.float32)
    assert model.network.predict(x, verbose=0).shape == x.shape
    assert answers(compiled_float(model), x) == pytest.approx(model.network(x).numpy(), rel=1e-4, abs=1e-4)


def test_a_keras_2_network_is_compiled_too(tmp_path: Path) -> None:
    import tf_keras

    x = tf_keras.Input((4,), name="x")
    network = tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(x * 2.0))
    with pytest.warns(UserWarning, match="HDF5"):
        network.save(tmp_path / "old.h5")
    given = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    compiled = compiled_float(load_model(tmp_path / "old.h5"))
    assert answers(compiled, given) == pytest.approx(network(given).numpy(), rel=1e-5, abs=1e-6)


def test_two_inputs_and_two_outputs_keep_their_names(tmp_path: Path) -> None:
    import keras

    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    joined = keras.layers.concatenate([left, right])
    network = keras.Model([left, right], {"kind": keras.layers.Dense(3)(joined), "age": keras.layers.Dense(1)(joined)})
    network.save(tmp_path / "two.keras")
    backend = open_backend(compiled_float(load_model(tmp_path / "two.keras")))
    assert {s.name: s.shape for s in backend.inputs} == {"left": (1, 6), "right": (1, 4)}
    assert {s.name: s.shape for s in backend.outputs} == {"kind": (1, 3), "age": (1, 1)}


def test_tensorflow_s_interpreter_answers_as_litert_does(shared_dir: Path) -> None:
    model = (shared_dir / "models" / "ad01_int8.tflite").read_bytes()
    x = np.random.default_rng(0).integers(-128, 128, (1, 640), dtype=np.int8)
    litert, tensorflow = (open_backend(model, name, kernels="reference") for name in ("litert", "tensorflow"))
    assert np.array_equal(tensorflow.invoke([x])[0], litert.invoke([x])[0])


def test_tensorflow_s_converter_is_not_given_a_flatbuffer(shared_dir: Path) -> None:
    with pytest.raises(ModelError, match=r"takes no \.tflite file"):
        tflite_converter(load_model(shared_dir / "models" / "ad01_float32.tflite"))


def unknown_ops() -> Any:
    import keras
    import tensorflow as tf

    class Odd(keras.layers.Layer):
        def call(self, x):
            return tf.raw_ops.Erfinv(x=x)

    x = keras.Input((6,))
    return keras.Model(x, Odd()(x))


def test_a_refusal_names_the_op() -> None:
    with pytest.raises(ModelError, match="no op for Erfinv"):
        compiled_float(unknown_ops())


def test_a_recurrence_over_a_free_batch_is_compiled_for_one_sample() -> None:
    import keras

    network = keras.Sequential([keras.Input((8, 3)), keras.layers.LSTM(4)])
    x = np.random.default_rng(0).normal(size=(5, 8, 3)).astype(np.float32)
    assert answers(compiled_float(network), x) == pytest.approx(network(x).numpy(), rel=1e-4, abs=1e-5)


def test_custom_ops_and_state_in_a_flatbuffer_are_refused_by_name(tmp_path: Path) -> None:
    import tensorflow as tf

    class Stream(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.total = tf.Variable(tf.zeros((1, 4)))

        @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])
        def step(self, x):
            return {"sum": self.total.assign_add(x) * 1.0}

        @tf.function(input_signature=[tf.TensorSpec((1, 4), name="x")])
        def odd(self, x):
            return {"y": tf.raw_ops.Erfinv(x=x)}

    stream = Stream()
    for name, function, said in (
        ("state", stream.step, "keeps state from call to call .*ASSIGN_VARIABLE"),
        ("custom", stream.odd, "doesn't bring along .FlexErfinv|custom ops .Erfinv"),
    ):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], stream)
        converter.allow_custom_ops = True
        (tmp_path / f"{name}.tflite").write_bytes(converter.convert())
        with pytest.raises(ModelError, match=said):
            load_model(tmp_path / f"{name}.tflite")
