"""What a layer costs in time: its operator alone, in the float and in the quantized model, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import numpy as np

from edgeloop.latency import sample_rounds, summarize
from edgeloop_converters.tflite.doctor import LayerDiagnosis
from edgeloop_converters.tflite.facts import describe
from edgeloop_converters.tflite.flatbuffer import parse
from edgeloop_converters.tflite.interpreter import open_interpreter
from edgeloop_converters.tflite.isolate import isolate
from edgeloop_converters.tflite.match import match

__all__ = ["LayerTime", "time_layers"]


class LayerTime(msgspec.Struct, frozen=True):
    """One operator alone, at the median of its calls on this machine, in microseconds.

    Attributes:
        layer: the float model's name of its output.
        float_us: of the float model's operator.
        quantized_us: of the quantized model's, for the same values.
    """

    layer: str
    float_us: float
    quantized_us: float


def time_layers(
    float_model: bytes, quantized_model: bytes, layers: Sequence[LayerDiagnosis], *, min_time_s: float = 0.02
) -> tuple[LayerTime, ...]:
    """What putting a layer back to float would change in a call, but for the conversion at its borders.

    Args:
        float_model: the `.tflite` file before quantization.
        quantized_model: after it.
        layers: which ones; those that can't run alone are left out.
        min_time_s: the counted calls of each operator take together so long, at least.

    Raises:
        ModelError: a model can't be loaded.
    """
    matching = match(describe(float_model), describe(quantized_model))
    trees = parse(float_model), parse(quantized_model)
    found = []
    for layer in layers:
        other = matching.ops.get(layer.index)
        cuts = None if other is None else (isolate(trees[0], layer.index), isolate(trees[1], other))
        if cuts is None or cuts[0] is None or cuts[1] is None:
            continue
        rounds = sample_rounds(
            {"float": _call(cuts[0].model), "quantized": _call(cuts[1].model)},
            min_time_s=min_time_s, min_runs=30, warmup=5,
        )  # fmt: skip
        times = {name: summarize(its).median_us for name, its in rounds.items()}
        found.append(LayerTime(layer.layer, times["float"], times["quantized"]))
    return tuple(found)


def _call(model: bytes) -> Callable[[], Any]:
    """A call of the operator on zeros: kernels take the same time whatever the values."""
    interpreter = open_interpreter(model)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    run: Callable[[], Any] = interpreter.invoke
    return run
