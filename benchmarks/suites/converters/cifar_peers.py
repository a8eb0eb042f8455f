"""Other converters' recipes beside ours: the same model, data and machine."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from front import front_table, side_by_side
from tfmot import optimize

from edgeloop.artifact import read_artifact
from edgeloop_converters.prepare import Prepared
from edgeloop_converters.recipes import Cluster, Compile, FineTune, QuantizationAware, Recipe, Sparsify
from edgeloop_converters.tflite import describe

__all__ = ["peers"]

EPOCHS, RATE = 3, 1e-4
INT8 = Compile(scheme="int8")
OURS: tuple[Recipe | str, ...] = (
    "float16",
    "dynamic-int8",
    "int8",
    "int8-litert",
    "int8-litert-least-error",
    Recipe("sparsify-50-int8", (Sparsify(sparsity=0.5), FineTune(epochs=EPOCHS, learning_rate=RATE), INT8)),
    Recipe("cluster-16-int8", (Cluster(clusters=16), FineTune(epochs=EPOCHS, learning_rate=RATE), INT8)),
    Recipe("int8-qat", (QuantizationAware(epochs=EPOCHS, learning_rate=RATE), INT8)),
)


def peers(
    prepared: Prepared, artifact: Path | None, convert: Callable[[Recipe | str], bytes]
) -> tuple[dict[str, Any], str]:
    """TensorFlow's converter, litert-quantizer's stock recipes, tensorflow-model-optimization, and ours.

    Args:
        prepared: the model and the data.
        artifact: what `compact` has made, to be compared too.
        convert: a recipe of ours to its file.
    """
    data = prepared.recipe_data()
    samples = np.asarray(data.calibration)
    with contextlib.redirect_stdout(sys.stderr):  # both tell of their work
        files = of_tensorflow(prepared.model, samples)
        files |= of_litert_quantizer(files["TensorFlow, float32"], samples)
    made, missing = optimize(prepared.model, data.x, data.y, samples)
    files |= {f"TFMOT, {name}": model for name, model in made.items()}
    ours = {}
    for recipe in OURS:
        name = recipe if isinstance(recipe, str) else recipe.name
        ours[f"edgeloop, {name}"] = convert(recipe)
    if artifact is not None:
        compact = read_artifact(artifact)
        ours[f"edgeloop, {compact.manifest.recipe.name}"] = compact.model
    rows = side_by_side(files | ours, list(ours), prepared.x_eval, prepared.y_eval)
    absent = [f"TFMOT, {name}: {why}" for name, why in missing.items()]
    return {"rows": rows, "missing": absent}, "\n".join([front_table(rows), *absent])


def of_tensorflow(model: Any, samples: Any) -> dict[str, bytes]:
    """TensorFlow's own converter, as its guide has it."""
    import tensorflow as tf

    def converted(**options: Any) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for name, value in options.items():
            setattr(converter, name, value)
        return bytes(converter.convert())

    optimized = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    return {
        "TensorFlow, float32": converted(),
        "TensorFlow, default": converted(**optimized),
        "TensorFlow, int8": converted(
            **optimized,
            representative_dataset=lambda: ([s[None]] for s in samples),
            inference_input_type=tf.int8,
            inference_output_type=tf.int8,
        ),
    }


def of_litert_quantizer(plain: bytes, samples: Any) -> dict[str, bytes]:
    """litert-quantizer's stock recipes, on the float32 file."""
    from litert_quantizer import Quantizer
    from litert_quantizer import recipe as stock

    signature = describe(plain).signatures[0]
    feed = {signature.key: [{next(iter(signature.inputs)): s[None]} for s in samples]}
    made = {}
    for name in ("dynamic_wi8_afp32", "weight_only_wi8_afp32", "static_wi8_ai8"):
        quantizer = Quantizer(plain, getattr(stock, name)())
        result = quantizer.calibrate(feed) if quantizer.need_calibration else None
        made[f"litert-quantizer, {name}"] = bytes(quantizer.quantize(result).quantized_model)
    return made
