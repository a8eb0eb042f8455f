"""A prediction: what the model stored, decoded when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import msgspec
import numpy as np
from msgspec.structs import force_setattr
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
    """How a model's outputs are read: the same for all of its predictions.

    `decoders` take outputs as arrays, many at once, and may give the very memory that they got. `read` takes the bytes
    of one first output, in a dtype and shape that are always the same.
    """

    def __init__(self, manifest: Manifest, outputs: Sequence[TensorSpec]) -> None:
        self.names = [spec.name for spec in outputs]
        self.decoders = [partial(dequantize, spec) for spec in outputs]
        self.dtype, self.shape = np.dtype(outputs[0].dtype), outputs[0].shape[1:]
        self.read = _reading(outputs[0], self.dtype, self.shape)
        self.has_fixed_size = outputs[0].shape[:1] in {(1,), (-1,)} and min(self.shape, default=1) > 0
        self.classifies = manifest.task == "classification"
        self.labels = manifest.labels
        self.temperature = manifest.temperature
        self.least_probability = least_probability(outputs[0])


class Prediction(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What the model said of one input. It is decoded when it is asked, and once.

    Args:
        latency_ns: from the call to the answer, preprocessing included, in nanoseconds.
    """

    # Without a dictionary and unknown to the garbage collector (nothing in it can refer back): one is made at each
    # call. `functools.cached_property` needs the one, and until Python 3.12 takes a lock of 0.5 µs.
    _first: bytes | Array
    _reader: OutputReader
    latency_ns: int
    _rest: Sequence[Array] = ()
    _output: NDArray[np.float32] | None = None
    _outputs: dict[str, NDArray[np.float32]] | None = None
    _index: int | None = None
    _confidence: float | None = None

    @property
    def output(self) -> NDArray[np.float32]:
        """The first output without its batch axis, in real units, float32."""
        output = self._output
        if output is None:
            stored, reader = self._first, self._reader
            output = reader.read(stored) if isinstance(stored, bytes) else reader.decoders[0](stored)
            force_setattr(self, "_output", output)
        return output

    @property
    def outputs(self) -> dict[str, NDArray[np.float32]]:
        """All outputs by name, as `output`."""
        outputs = self._outputs
        if outputs is None:
            names, decoders = self._reader.names, self._reader.decoders
            rest = zip(names[1:], decoders[1:], self._rest, strict=True)
            outputs = {names[0]: self.output, **{name: decode(stored) for name, decode, stored in rest}}
            force_setattr(self, "_outputs", outputs)
        return outputs

    @property
    def index(self) -> int | None:
        """The class, for a classifier (of a single output: 1 from 0.5 on); else None."""
        if self._index is None and self._reader.classifies:
            output = self.output
            # The usual case goes straight to what `predicted_classes` would do with it: 0.4 µs instead of 1.
            index = output.argmax() if output.ndim == 1 and output.size > 1 else predicted_classes(output)
            force_setattr(self, "_index", int(index))
        return self._index

    @property
    def label(self) -> str | None:
        """The class's name where the manifest has labels; else None."""
        return self._reader.labels[self.index] if self._reader.labels and self.index is not None else None

    @property
    def confidence(self) -> float | None:
        """The class's probability, at the manifest's temperature; else None."""
        index = self.index
        if self._confidence is None and index is not None:
            temperature, classes = self._reader.temperature, class_probabilities(self.output)
            confidence = float(classes[index]) if temperature is None else self._scaled(classes, temperature)
            force_setattr(self, "_confidence", confidence)
        return self._confidence

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


def _reading(spec: TensorSpec, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Callable[[bytes], NDArray[np.float32]]:
    table, ndarray = dequantize_table(spec), np.ndarray
    if table is not None:
        byte = np.dtype(np.uint8)
        look_up: Callable[..., NDArray[np.float32]] = table.take

        def read(stored: bytes) -> NDArray[np.float32]:
            return look_up(ndarray(shape, byte, stored), mode="wrap")

        return read
    # In memory of its own, since who has it may write to it; a bytearray is the cheapest there is.
    return lambda stored: dequantize(spec, ndarray(shape, dtype, bytearray(stored)))
