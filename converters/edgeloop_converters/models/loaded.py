"""What every loader gives: the model in the form that the next step takes, and what the user should know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from edgeloop.errors import ModelError

__all__ = ["Kind", "LoadedModel", "Port", "check_ports"]

Kind: TypeAlias = Literal["keras", "tf_keras", "saved_model", "tflite"]


@dataclass(frozen=True)
class Port:
    """One input or output of a model.

    Attributes:
        name: the model's own.
        shape: with the batch axis first; None is an axis whose size is free.
        dtype: numpy's name.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class LoadedModel:
    """A model that was read.

    Attributes:
        path: where it was read from.
        kind: its form now: "keras" (Keras 3, which the compression passes take), "tf_keras" (Keras 2), "saved_model",
            or "tflite" (also what ONNX and PyTorch become).
        inputs: in the model's order.
        outputs: in the model's order.
        notes: what loading found or changed, one sentence each, for the user.
        network: the `keras.Model` or `tf_keras.Model`; None of the other kinds.
        flatbuffer: the `.tflite` bytes of the kind "tflite"; else None.
        signature: the chosen signature of the kind "saved_model"; else None.
        is_quantized: whether its activations are integers already, so that it is packaged as it is.
    """

    path: Path
    kind: Kind
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...] = ()
    network: Any = field(default=None, repr=False)
    flatbuffer: bytes | None = field(default=None, repr=False)
    signature: str | None = None
    is_quantized: bool = False

    @property
    def input_shape(self) -> tuple[int | None, ...]:
        """The only input's shape, batch axis first. Raises `ModelError` of a model with several."""
        return self._only("inputs", self.inputs).shape

    @property
    def output_shape(self) -> tuple[int | None, ...]:
        """The only output's shape, batch axis first. Raises `ModelError` of a model with several."""
        return self._only("outputs", self.outputs).shape

    def _only(self, what: str, ports: tuple[Port, ...]) -> Port:
        if len(ports) != 1:
            names = ", ".join(p.name for p in ports)
            raise ModelError(f"{self.path}: it has {len(ports)} {what} ({names}), and this step takes models with one")
        return ports[0]


def check_ports(path: Path, inputs: tuple[Port, ...], outputs: tuple[Port, ...]) -> None:
    """Refuse what no artifact can hold: no inputs or outputs, or a free axis other than the batch.

    Raises:
        ModelError: it names the input or output.
    """
    for what, ports in (("input", inputs), ("output", outputs)):
        if not ports:
            raise ModelError(f"{path}: the model has no {what}: save one that is built, with its {what}s")
        for port in ports if what == "input" else ():
            if not port.shape:
                raise ModelError(f"{path}: input {port.name!r} is a scalar: give it a batch axis")
            if None in port.shape[1:]:
                raise ModelError(
                    f"{path}: input {port.name!r} has the shape {port.shape}: only the batch (its first axis) may be "
                    "free; give the others the size that the device will feed"
                )
