"""A prediction: what the model stored, decoded when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgeloop.baseline import class_probabilities, predicted_classes
from edgeloop.manifest import Manifest, TensorSpec
from edgeloop.quantization import dequantize, dequantize_table

__all__ = ["OutputReader", "Prediction", "least_probability"]

Array: TypeAlias = NDArray[Any]

_LEAST_PROBABILITY = 1e-7


def least_probability(spec: TensorSpec) -> float:
    """What a probability of 0 counts as where its logarithm is taken: half a step of a quantized output, else 1e-7.

    A quantized 0 says no more than that: a temperature fitted to smaller values would fit them instead of the others.
    """
    return _LEAST_PROBABILITY if spec.scale is None else max(_LEAST_PROBABILITY, spec.scale / 2)


class OutputReader:
    """How a model's outputs are read: the same for all of its predictions."""

    def __init__(self, manifest: Manifest, outputs: Sequence[TensorSpec]) -> None:
        self.names = [spec.name for spec in outputs]
        self.decoders = [_decoder(spec) for spec in outputs]
        self.dtype, self.shape = np.dtype(outputs[0].dtype), outputs[0].shape[1:]
        self.has_fixed_size = outputs[0].shape[:1] in {(1,), (-1,)} and min(self.shape, default=1) > 0
        self.classifies = manifest.task == "classification"
        self.labels = manifest.labels
        self.temperature = manifest.temperature
        self.least_probability = least_probability(outputs[0])


class Prediction(msgspec.Struct, frozen=True, eq=False, dict=True):
    """What the model said of one input. It is decoded when it is asked, and once.

    Args:
        latency_ns: from the call to the answer, preprocessing included, in nanoseconds.
    """

    _first: bytes | Array
    _reader: OutputReader
    latency_ns: int
    _rest: Sequence[Array] = ()

    @cached_property
    def output(self) -> NDArray[np.float32]:
        """The first output without its batch axis, in real units, float32."""
        stored, reader = self._first, self._reader
        if isinstance(stored, bytes):
            stored = np.frombuffer(stored, reader.dtype).reshape(reader.shape)
        return reader.decoders[0](stored)

    @cached_property
    def outputs(self) -> dict[str, NDArray[np.float32]]:
        """All outputs by name, as `output`."""
        names, decoders = self._reader.names, self._reader.decoders
        rest = zip(names[1:], decoders[1:], self._rest, strict=True)
        return {names[0]: self.output, **{name: decode(stored) for name, decode, stored in rest}}

    @cached_property
    def index(self) -> int | None:
        """The class, for a classifier (of a single output: 1 from 0.5 on); else None."""
        return int(predicted_classes(self.output)) if self._reader.classifies else None

    @property
    def label(self) -> str | None:
        """The class's name where the manifest has labels; else None."""
        return self._reader.labels[self.index] if self._reader.labels and self.index is not None else None

    @cached_property
    def confidence(self) -> float | None:
        """The class's probability, at the manifest's temperature; else None."""
        if self.index is None:
            return None
        temperature, classes = self._reader.temperature, class_probabilities(self.output)
        return float(classes[self.index]) if temperature is None else self._scaled(classes, temperature)

    def _scaled(self, probabilities: NDArray[np.float32], temperature: float) -> float:
        """The largest of softmax(log p / temperature) (Guo et al., "On Calibration of Modern Neural Networks")."""
        logits = np.log(np.maximum(probabilities.astype(np.float64), self._reader.least_probability)) / temperature
        return float(1 / np.exp(logits - logits.max()).sum())

    @property
    def latency_us(self) -> float:
        """From the call to the answer, preprocessing included, in microseconds."""
        return self.latency_ns / 1e3

    def __repr__(self) -> str:
        said = f"output={self.output!r}" if self.index is None else f"index={self.index}, label={self.label!r}"
        return f"Prediction({said}, confidence={self.confidence}, latency_us={self.latency_us})"


def _decoder(spec: TensorSpec) -> Callable[[Array], NDArray[np.float32]]:
    table = dequantize_table(spec)
    if table is None:
        return lambda stored: np.array(dequantize(spec, stored))  # a copy, that its owner may write to
    decode: Callable[[Array], NDArray[np.float32]]
    decode = partial(table.take, mode="wrap")  # type: ignore[assignment]  # numpy's stub thinks of a single index
    return decode
