"""Which of a model's inputs an array goes to, and which of its outputs is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from edgeloop.errors import ConfigError, DataError, InputError
from edgeloop.preprocessing import Step, check_steps
from edgeloop_converters.compile import output_names
from edgeloop_converters.data import Dataset
from edgeloop_converters.evaluate import key_for
from edgeloop_converters.proof import Metric
from edgeloop_converters.tflite import describe, output_first, port_names

__all__ = ["Face", "Steps", "check_inputs", "faces_of", "for_model", "measured_first"]

Steps = tuple[Step, ...] | Mapping[str, tuple[Step, ...]]
"""Preprocessing: of the only input; or of several, by name."""


class Face(NamedTuple):
    """An input or output of a model: its name, and its shape without the batch axis."""

    name: str
    shape: tuple[int, ...]


def faces_of(model: Any) -> tuple[tuple[Face, ...], tuple[Face, ...]]:
    """The inputs and the outputs of a built `keras.Model`, or of the bytes of a `.tflite` file."""
    if not isinstance(model, bytes):
        named = zip(output_names(model), model.outputs, strict=True)
        return tuple(Face(t.name, tuple(t.shape[1:])) for t in model.inputs), tuple(
            Face(name, tuple(t.shape[1:])) for name, t in named
        )
    facts = describe(model)
    inputs, outputs = (
        tuple(Face(name, facts.tensors[i].shape[1:]) for name, i in zip(names, indices, strict=True))
        for names, indices in zip(port_names(model), (facts.inputs, facts.outputs), strict=True)
    )
    return inputs, outputs


def for_model(inputs: tuple[Face, ...], data: Dataset, what: str) -> Dataset:
    """The data set with its inputs under the model's names, in the model's order; a single input has none.

    Raises:
        DataError: an input has no array, or an array no input.
    """
    if not isinstance(data.x, dict):
        if len(inputs) > 1:
            raise DataError(
                f"the {what} data ({data.source}) has one unnamed input, the model takes {listed(inputs)}: save an "
                f"array for each in the .npz, as {', '.join('x.' + f.name for f in inputs)}"
            )
        return data
    if len(inputs) == len(data.x) == 1:
        return replace(data, x=next(iter(data.x.values())))
    keys = {face.name: key_for(face.name, data.x) for face in inputs}
    if set(keys.values()) != set(data.x):
        given = ", ".join(f"{name} {a.shape[1:]}" for name, a in data.x.items())
        raise DataError(f"the {what} data ({data.source}) has the inputs {given}, the model takes {listed(inputs)}")
    return replace(data, x={name: data.x[key] for name, key in keys.items()})


def steps_for(inputs: tuple[Face, ...], steps: Steps) -> Steps:
    """The steps under the model's names; of a model with one input just its steps.

    Raises:
        ConfigError: unnamed steps for several inputs, or a name that is no input's.
    """
    if not isinstance(steps, Mapping):
        if steps and len(inputs) > 1:
            names = ", ".join(f.name for f in inputs)
            raise ConfigError(
                f"the preprocessing is for one input, and the model has {names}: give the steps by the input's name "
                "([[inputs.NAME]] in the file, --scale NAME=FACTOR, a dictionary in Python)"
            )
        return steps
    known = {key_for(face.name, steps): face.name for face in inputs}
    unknown = sorted(set(steps) - set(known))
    if unknown:
        raise ConfigError(f"preprocessing for the input {unknown[0]!r}: the model's inputs are {listed(inputs)}")
    named = {known[key]: tuple(its) for key, its in steps.items()}
    return named.get(inputs[0].name, ()) if len(inputs) == 1 else named


def check_inputs(inputs: tuple[Face, ...], data: Dataset, steps: Steps, what: str) -> None:
    """Raise `DataError` where an array, preprocessed, hasn't its input's shape."""
    for face, (name, array) in zip(inputs, data.inputs.items(), strict=True):
        its = steps.get(face.name, ()) if isinstance(steps, Mapping) else steps
        given = array.shape[1:]
        of = f"input {name!r}: " if len(inputs) > 1 else ""
        if its:
            try:
                check_steps(its, given, face.shape)
            except InputError as error:
                raise DataError(f"the {what} data ({data.source}): {of}{error}") from error
        elif given != face.shape:
            raise DataError(
                f"the {what} data ({data.source}): {of}its samples have the shape {given}, the model takes {face.shape}"
            )


def measured_first(model: Any, metric: Metric, evaluation: Dataset, name: str | None) -> Any:
    """The model with the output that the metric is computed of before the others.

    Args:
        model: a built `keras.Model`, or the bytes of a `.tflite` file.
        metric: what is computed.
        evaluation: its labels say which output can be meant.
        name: the output's; None takes the only one that can be.

    Raises:
        ConfigError: there is none of that name; or none or several can be meant.
    """
    outputs = faces_of(model)[1]
    if name is None and len(outputs) == 1:
        return model
    if name is None:
        fitting = [face for face in outputs if suits(face.shape, metric, evaluation)]
        if len(fitting) != 1:
            which = "none of them has" if not fitting else f"{', '.join(f.name for f in fitting)} have"
            raise ConfigError(
                f"the model has the outputs {listed(outputs)}, and {which} the shape that {metric.name} and the labels "
                "ask for: say which one is measured (--output-name NAME; output=… in Python)"
            )
        name = fitting[0].name
    names = [face.name for face in outputs]
    if name not in names:
        raise ConfigError(f"the model has no output {name!r}: its outputs are {listed(outputs)}")
    if names[0] == name:
        return model
    if isinstance(model, bytes):
        return output_first(model, name)
    import keras

    chosen = names.index(name)
    rest = [t for i, t in enumerate(model.outputs) if i != chosen]
    return keras.Model(model.inputs, [model.outputs[chosen], *rest], name=model.name)


def suits(shape: tuple[int, ...], metric: Metric, evaluation: Dataset) -> bool:
    """Whether an output of this shape can be what the metric is computed of."""
    y = evaluation.y
    if y is None:
        return False
    if metric.task == "classification":
        return len(shape) == 1 and (shape[0] > int(y.max()) or (shape[0] == 1 and int(y.max()) < 2))
    if metric.task == "regression":
        return shape == y.shape[1:] or (shape == (1,) and y.ndim == 1)
    return metric.task == "custom" or shape in ((), (1,))


def listed(faces: tuple[Face, ...]) -> str:
    """Inputs or outputs with their shapes, for a message."""
    return ", ".join(f"{face.name} {face.shape}" for face in faces)
