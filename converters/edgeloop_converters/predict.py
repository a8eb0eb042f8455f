"""What a `.tflite` file answers, as the metric takes it, while one of its inputs is varied."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeloop.backends import open_backend
from edgeloop.batching import Batcher
from edgeloop.quantization import dequantize, quantize
from edgeloop_converters.prepare import Prepared, scores_of
from edgeloop_converters.proof import Predict
from edgeloop_converters.quiet import silenced

__all__ = ["predictor"]


def predictor(prepared: Prepared, model: bytes, x: Any, name: str) -> Predict:
    """What the metric is computed of, for other values of one input; the interpreter is opened once.

    Args:
        prepared: says what the metric is.
        model: the flatbuffer.
        x: (n, …) inputs as the model takes them, or such arrays by name: where there are several, the others stay as
            they are here.
        name: the input that is varied; of a model with one, any.
    """
    with silenced():  # the first interpreter of a process announces itself
        backend = open_backend(model)
    together = Batcher(backend)

    def predict(values: NDArray[Any]) -> NDArray[Any]:
        values = np.asarray(values, np.float32)
        given = {**x, name: values} if isinstance(x, Mapping) else values
        arrays = [given[spec.name] if isinstance(given, Mapping) else given for spec in backend.inputs]
        stored = [quantize(spec, np.asarray(a, np.float32)) for spec, a in zip(backend.inputs, arrays, strict=True)]
        return scores_of(prepared.metric, dequantize(backend.outputs[0], together(stored)[0]), given)

    return predict
