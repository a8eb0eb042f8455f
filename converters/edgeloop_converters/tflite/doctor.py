"""The quantization doctor: which layers lose what, why, and what to try.

Each layer is measured twice. In the running model, its error holds what all layers before it lost. Alone, fed
with the float model's own values, it shows what it adds itself (the "selective" debugging of TensorFlow's
quantization debugger); layers are ranked by that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from edgeloop.errors import ModelError
from edgeloop_converters.tflite.causes import Cause, Weights, causes
from edgeloop_converters.tflite.check import WEIGHTED
from edgeloop_converters.tflite.facts import ModelFacts, OpFacts, describe
from edgeloop_converters.tflite.flatbuffer import parse
from edgeloop_converters.tflite.interpreter import (
    Array,
    Inputs,
    Kernels,
    invoke,
    open_interpreter,
    samples_of,
    set_sample,
    to_tensor,
)
from edgeloop_converters.tflite.isolate import isolate
from edgeloop_converters.tflite.layer_stats import LayerStats, sqnr_db
from edgeloop_converters.tflite.match import Matching, match

__all__ = ["Diagnosis", "LayerDiagnosis", "diagnose"]


class LayerDiagnosis(msgspec.Struct, frozen=True):
    """One layer's error.

    Attributes:
        layer: the float model's name of its output.
        op: the operator's name.
        index: of the operator in the float model.
        sqnr_db: signal-to-quantization-noise ratio in the running model, in dB; what came before is in it.
        nrmse: the same as root mean squared error over the standard deviation of the float values.
        added_sqnr_db: of the layer alone, fed with float values; None for operators that can't run alone.
        added_nrmse: likewise.
        causes: likely ones, cheapest remedy first.
    """

    layer: str
    op: str
    index: int
    sqnr_db: float
    nrmse: float
    added_sqnr_db: float | None
    added_nrmse: float | None
    causes: tuple[Cause, ...]


class Diagnosis(msgspec.Struct, frozen=True):
    """What the doctor found.

    Attributes:
        samples: how many inputs were run.
        kernels: which kernels ran both models.
        layers: the layer that adds the largest error first.
        unmatched: layers of either model that have no counterpart, and so were not compared.
    """

    samples: int
    kernels: str
    layers: tuple[LayerDiagnosis, ...]
    unmatched: tuple[str, ...]


def diagnose(float_model: bytes, quantized_model: bytes, x: Inputs, *, kernels: Kernels = "default") -> Diagnosis:
    """Compare a float and a quantized model layer by layer on the same inputs.

    Args:
        float_model: the `.tflite` file before quantization.
        quantized_model: after it, by whichever converter.
        x: samples `(n, *input_shape[1:])`, float32, real-valued; some tens are enough.
        kernels: "default" or "reference".

    Raises:
        DataError: the samples don't fit the inputs.
        ModelError: a model can't be loaded, or no layer of the two corresponds.
    """
    real, quantized = describe(float_model), describe(quantized_model)
    matching = match(real, quantized)
    if not matching.ops:
        raise ModelError("no layer of the two models corresponds: is the quantized model made from this float model?")
    float_run = open_interpreter(float_model, kernels=kernels, preserve=True)
    quantized_run = open_interpreter(quantized_model, kernels=kernels, preserve=True)
    details = {int(d["index"]): d for d in quantized_run.get_tensor_details()}
    layers = {
        mine: Layer(
            real.ops[mine],
            quantized.ops[other],
            details,
            alone_runner(quantized_model, other, matching, kernels),
        )
        for mine, other in matching.ops.items()
        if comparable(real.ops[mine], quantized.ops[other], real, quantized)
    }
    arrays, others = samples_of(float_run, x), samples_of(quantized_run, renamed(x, float_run, quantized_run))
    for sample in range(len(arrays[0])):
        for interpreter, samples in ((float_run, arrays), (quantized_run, others)):
            set_sample(interpreter, samples, sample)
            invoke(interpreter)
        for layer in layers.values():
            layer.compare(float_run, quantized_run, matching)
    found = [layer.diagnosis(real, weights_of(layer, float_model, real, quantized)) for layer in layers.values()]
    found.sort(key=lambda d: d.added_nrmse if d.added_nrmse is not None else -1.0, reverse=True)
    return Diagnosis(len(arrays[0]), kernels, tuple(found), matching.unmatched)


class Layer:
    """A pair of operators while the models run."""

    def __init__(self, real: OpFacts, quantized: OpFacts, details: dict[int, Any], alone: AloneRunner | None) -> None:
        self.real = real
        self.quantized = quantized
        self.alone = alone
        self.stats = LayerStats(details[quantized.outputs[0]])

    def compare(self, float_run: Any, quantized_run: Any, matching: Matching) -> None:
        """Count the sample that both interpreters have just run."""
        value = float_run.get_tensor(self.real.outputs[0])
        raw = quantized_run.get_tensor(self.quantized.outputs[0])
        self.stats.update(value, raw, self.alone.run(float_run, matching) if self.alone else None)

    def diagnosis(self, facts: ModelFacts, weights: Weights | None) -> LayerDiagnosis:
        """What was counted, as the result."""
        stats = self.stats
        return LayerDiagnosis(
            layer=facts.name(self.real.outputs[0]),
            op=self.real.name,
            index=self.real.index,
            sqnr_db=sqnr_db(stats.signal, stats.noise),
            nrmse=stats.normalized_rmse(stats.noise),
            added_sqnr_db=None if stats.added is None else sqnr_db(stats.signal, stats.added),
            added_nrmse=None if stats.added is None else stats.normalized_rmse(stats.added),
            causes=causes(self.real.name, stats, weights),
        )


class AloneRunner:
    """Runs one operator of the quantized model on the float model's values."""

    def __init__(self, interpreter: Any, inputs: tuple[int, ...]) -> None:
        self.interpreter = interpreter
        self.inputs = inputs

    def run(self, float_run: Any, matching: Matching) -> Array:
        """The operator's raw output for the values that `float_run` holds."""
        for detail, tensor in zip(self.interpreter.get_input_details(), self.inputs, strict=True):
            value = float_run.get_tensor(matching.tensors[tensor])
            self.interpreter.set_tensor(detail["index"], to_tensor(value, detail))
        invoke(self.interpreter)
        return np.asarray(self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"]))


def alone_runner(model: bytes, index: int, matching: Matching, kernels: Kernels) -> AloneRunner | None:
    """A runner for one operator; None when it can't run alone, or an input has no counterpart."""
    cut = isolate(parse(model), index)
    if cut is None or not cut.inputs or not all(i in matching.tensors for i in cut.inputs):
        return None
    return AloneRunner(open_interpreter(cut.model, kernels=kernels), cut.inputs)


def comparable(mine: OpFacts, other: OpFacts, real: ModelFacts, quantized: ModelFacts) -> bool:
    """Whether both give out numbers of the same shape."""
    if not mine.outputs or not other.outputs:
        return False
    ours, theirs = real.tensors[mine.outputs[0]], quantized.tensors[other.outputs[0]]
    return ours.shape == theirs.shape and ours.dtype == "float32" and (bool(theirs.scales) or theirs.dtype == "float32")


def renamed(x: Inputs, float_run: Any, quantized_run: Any) -> Inputs:
    """Named inputs under the quantized model's names: inputs correspond by their order."""
    if not isinstance(x, Mapping):
        return x
    arrays = samples_of(float_run, x)
    return {d["name"]: a for d, a in zip(quantized_run.get_input_details(), arrays, strict=True)}


def weights_of(layer: Layer, float_model: bytes, real: ModelFacts, quantized: ModelFacts) -> Weights | None:
    """The weights of a layer in both models, where both hold them as constants."""
    if layer.real.name not in WEIGHTED or len(layer.real.inputs) < 2:
        return None
    producer = {t: op for op in quantized.ops for t in op.outputs}
    other = layer.quantized.inputs[1]
    while other in producer:
        other = producer[other].inputs[0]
    mine = real.tensors[layer.real.inputs[1]]
    if not mine.constant or mine.dtype != "float32" or not quantized.tensors[other].constant:
        return None
    tree = parse(float_model)
    data = tree.buffers[tree.subgraphs[0].tensors[mine.index].buffer].data
    return Weights(np.frombuffer(bytes(data), "<f4").reshape(mine.shape), quantized.tensors[other])
