"""TensorFlow's converter for whatever was loaded, and what its refusals mean."""

from __future__ import annotations

import re
from typing import Any

from edgeloop.errors import ModelError
from edgeloop_converters.models.loaded import LoadedModel
from edgeloop_converters.quiet import quiet_tensorflow

__all__ = ["explain_refusal", "tflite_converter"]

_UNKNOWN_OP = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def tflite_converter(model: LoadedModel | Any) -> Any:
    """A `tf.lite.TFLiteConverter` of the model, with nothing set.

    Args:
        model: what `load_model` gave, or a built `keras.Model` (also one of `tf_keras`).

    Raises:
        ModelError: it is a flatbuffer: TensorFlow's converter takes none; `edgeloop_converters.tflite.quantize` does.
    """
    quiet_tensorflow()
    import tensorflow as tf

    if not isinstance(model, LoadedModel):
        return tf.lite.TFLiteConverter.from_keras_model(model)
    if model.kind == "tflite":
        raise ModelError(
            f"{model.path}: TensorFlow's converter takes no .tflite file: choose a recipe of litert-quantizer, "
            "or give the model that it was made from"
        )
    if model.kind == "saved_model":
        return tf.lite.TFLiteConverter.from_saved_model(str(model.path), signature_keys=[model.signature])
    return tf.lite.TFLiteConverter.from_keras_model(model.network)


def explain_refusal(error: BaseException) -> ModelError:
    """What the converter's error means: which ops it doesn't know, or its first line; and what to do.

    Args:
        error: what `TFLiteConverter.convert` raised.
    """
    text = str(error)
    unknown = sorted(set(_UNKNOWN_OP.findall(text)))
    if unknown:
        return ModelError(
            f"TensorFlow's converter refuses the model: LiteRT has no op for {', '.join(unknown)}: replace them by "
            "standard layers, or leave them out of the model and compute them before or after it"
        )
    if "TensorList" in text:
        return ModelError(
            "TensorFlow's converter refuses the model: a loop (an RNN layer) over a batch of unknown size "
            "(TensorListReserve): build it with keras.Input(…, batch_size=1), or the layer with unroll=True"
        )
    reason = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return ModelError(f"TensorFlow's converter refuses the model: {reason[:300]}")
