"""What a model's outputs mean, read off its last layers, and the losses that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, cast

from numpy.typing import NDArray

from edgeloop.errors import DataError
from edgeloop_converters.passes.channels import RESHAPERS, kind_of

if TYPE_CHECKING:
    import keras

__all__ = ["Loss", "OutputKind", "loss_for", "output_kinds"]

OutputKind = Literal["softmax", "sigmoid", "linear"]
Loss = Callable[[Any, Any], Any]

TRANSPARENT = RESHAPERS | {"Identity", "Dropout"}


def output_kinds(model: keras.Model) -> list[OutputKind]:
    """Whether each output of a flat model is a softmax, a sigmoid or neither, in the order of the outputs."""
    return [kind_of_output(tensor) for tensor in model.outputs]


def kind_of_output(tensor: Any) -> OutputKind:
    """The kind of one output, looking through layers that only reshape."""
    layer = tensor._keras_history.operation  # noqa: SLF001 - the layer that made a tensor stands nowhere else
    kind = kind_of(layer)
    if kind in TRANSPARENT:
        return kind_of_output(layer._inbound_nodes[0].input_tensors[0])  # noqa: SLF001 - as above
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    if activation == "linear" and kind == "Activation":
        return kind_of_output(layer._inbound_nodes[0].input_tensors[0])  # noqa: SLF001 - as above
    if kind == "Softmax" or activation == "softmax":
        return "softmax"
    return "sigmoid" if kind == "Sigmoid" or activation == "sigmoid" else "linear"


def loss_for(name: str, kind: OutputKind, shape: tuple[int | None, ...], y: NDArray[Any]) -> Loss:
    """The loss that fits an output and its targets.

    Integer targets with one axis less than the output (or a last axis of 1) are class numbers:
    cross-entropy, from logits where the output is linear. Other targets must have the output's shape:
    cross-entropy for a softmax, binary cross-entropy for a sigmoid, mean squared error otherwise.

    Args:
        name: the output's name, for messages.
        kind: what the output is.
        shape: its shape, batch axis first.
        y: its targets, shape (n,), (n, 1) or (n, ...).

    Raises:
        DataError: the targets fit the output in neither way.
    """
    import keras

    losses = keras.losses
    classes = shape[-1] or 1
    indices = y.dtype.kind in "iu" and kind != "sigmoid" and classes > 1
    if indices and any(fits(y, wanted) for wanted in (shape[1:-1], (*shape[1:-1], 1))):
        if y.min() < 0 or y.max() >= classes:
            raise DataError(f"output {name!r} has {classes} classes, its targets go from {y.min()} to {y.max()}")
        return cast(Loss, losses.SparseCategoricalCrossentropy(from_logits=kind == "linear"))
    if not fits(y, shape[1:]) and not (classes == 1 and fits(y, shape[1:-1])):
        raise DataError(f"output {name!r} has shape {shape}, its targets {y.shape}: give class numbers or that shape")
    by_kind = {
        "softmax": losses.CategoricalCrossentropy,
        "sigmoid": losses.BinaryCrossentropy,
        "linear": losses.MeanSquaredError,
    }
    return cast(Loss, by_kind[kind]())


def fits(y: NDArray[Any], shape: tuple[int | None, ...]) -> bool:
    """Whether the examples in `y` have `shape`, in which None is any size."""
    sizes = y.shape[1:]
    return len(sizes) == len(shape) and all(want in {None, got} for got, want in zip(sizes, shape, strict=True))
