"""To a `.tflite` flatbuffer, by TensorFlow's converter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.models import LoadedModel, check_runnable, explain_refusal, tflite_converter
from edgeloop_converters.quiet import quiet_tensorflow, silenced
from edgeloop_converters.tflite import arrange, describe, port_names

__all__ = ["KerasScheme", "compile_keras", "convertible", "output_names"]

KerasScheme = Literal["float32", "float16", "dynamic_int8", "int8", "int16x8"]
"""What TensorFlow's converter makes: `int8` and `int16x8` are integer only, their inputs and outputs too."""


def convertible(model: LoadedModel | Any) -> Any:
    """What recipes take: a built `keras.Model`, or the bytes of a `.tflite` file.

    Args:
        model: what `load_model` gave, or one of the two already. A SavedModel and a Keras 2 model are compiled to
            float32 here: recipes that train need a Keras 3 model.

    Raises:
        ModelError: an operation isn't TFLite's, or keeps state.
    """
    if not isinstance(model, LoadedModel):
        return model
    if model.kind == "keras":
        return model.network
    return model.flatbuffer if model.flatbuffer is not None else _convert(tflite_converter(model))


def compile_keras(model: Any, scheme: KerasScheme, calibration: list[NDArray[np.float32]] | None = None) -> bytes:
    """Compile a model.

    Args:
        model: a built `keras.Model`.
        scheme: how numbers are stored, and computed with.
        calibration: for the integer schemes: for each input, in the model's order, (n, …) float32 values as the model
            takes them; they set the activations' ranges.

    Raises:
        ConfigError: an integer scheme without calibration data.
        ModelError: an operation has no kernel of this scheme, or isn't TFLite's.
    """
    quiet_tensorflow()
    import tensorflow as tf

    converter = tflite_converter(_for_one_sample(model))
    if scheme != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if scheme in ("int8", "int16x8"):
        if not calibration:
            raise ConfigError(f"{scheme} fixes the ranges of activations, which takes calibration data")
        names = [tensor.name for tensor in model.inputs]
        converter.representative_dataset = lambda: _samples(names, calibration)
        wide = scheme == "int16x8"
        sets = tf.lite.OpsSet
        converter.target_spec.supported_ops = [
            sets.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8 if wide else sets.TFLITE_BUILTINS_INT8
        ]
        converter.inference_input_type = converter.inference_output_type = tf.int16 if wide else tf.int8
    return _in_order(_convert(converter), model)


def _in_order(flatbuffer: bytes, model: Any) -> bytes:
    """The file with the inputs and outputs of several in the model's own order, by their own names.

    The converter sorts inputs by name, gives outputs in the order in which they are computed, and calls those of a list
    `output_0`, `output_1`….
    """
    if len(model.inputs) == len(model.outputs) == 1:
        return flatbuffer
    outputs = output_names(model)
    numbered = {f"output_{i}": name for i, name in enumerate(outputs)}
    renamed = numbered if set(port_names(flatbuffer)[1]) == set(numbered) else {}
    return arrange(flatbuffer, [t.name for t in model.inputs], list(renamed) or outputs, renamed=renamed)


def output_names(model: Any) -> list[str]:
    """A Keras model's names for its outputs, in its order: the keys, where they are a dictionary.

    Raises:
        ModelError: two have one name.
    """
    names = [str(name) for name in getattr(model, "output_names", None) or ["output"]]
    given = getattr(model, "output", None)
    if isinstance(given, dict):
        keys = {id(tensor): str(key) for key, tensor in given.items()}
        names = [keys[id(tensor)] for tensor in model.outputs]
    if len(set(names)) < len(names):
        raise ModelError(f"two of the model's outputs have one name ({', '.join(names)}): name their layers apart")
    return names


def _for_one_sample(model: Any) -> Any:
    """The same model with its batch axis fixed at 1: an open one costs SHAPE and PACK operators at each reshape."""
    import keras

    inputs = [keras.Input(batch_shape=(1, *t.shape[1:]), dtype=t.dtype, name=t.name) for t in model.inputs]
    # A Sequential that was loaded from a file has no `input` until it is called; a functional model's may be a dict.
    given = inputs[0] if isinstance(model, keras.Sequential) else keras.tree.pack_sequence_as(model.input, inputs)
    return keras.Model(inputs, model(given), name=model.name)


def _samples(names: list[str], calibration: list[NDArray[np.float32]]) -> Iterator[Any]:
    for i in range(len(calibration[0])):
        one = [values[i : i + 1] for values in calibration]
        # By name where there are several: the converter has an order of its own.
        yield one if len(names) == 1 else dict(zip(names, one, strict=True))


def _convert(converter: Any) -> bytes:
    from tensorflow.lite.python.convert import ConverterError

    try:
        with silenced():
            flatbuffer = bytes(converter.convert())
    except (ConverterError, ValueError, RuntimeError, TypeError) as error:
        raise explain_refusal(error) from error
    check_runnable(describe(flatbuffer), "the compiled model")
    return flatbuffer
