"""Read a Keras 3 model's layer graph, and build a new one in which some layers are replaced.

All passes stand on three functions: `flatten` copies a model and dissolves its nested models, `read_calls`
lists which layer was called on which tensors, and `rebuild` copies the graph with chosen layers replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeloop.errors import ModelError

if TYPE_CHECKING:
    import keras

__all__ = ["Call", "Part", "consumers", "copy_layer", "flatten", "read_calls", "rebuild", "walk"]


@dataclass(frozen=True)
class Part:
    """A layer that isn't yet built, with the weights that it gets once it is.

    Args:
        layer: a fresh Keras layer.
        weights: arrays in the order of `layer.get_weights()`; None keeps the initial ones.
    """

    layer: Any
    weights: Sequence[np.ndarray] | None = None


@dataclass(frozen=True)
class Call:
    """One call of one layer in a flat model.

    Args:
        layer: the Keras layer (or operation) that was called.
        inputs: the symbolic tensors among its arguments, in order.
        outputs: the symbolic tensors that it returned.
    """

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]


def functional_of(model: Any) -> Any:
    """The `Functional` inside `model`; raises `ModelError` for a model whose graph can't be read."""
    import keras

    if not isinstance(model, keras.Model):
        raise ModelError(f"expected a keras.Model of Keras 3, got {type(model).__module__}.{type(model).__name__}")
    if isinstance(model, keras.Sequential):
        if not model.built or model._functional is None:  # noqa: SLF001 - Keras has no public way to this graph
            raise ModelError(
                f"model {model.name!r} isn't built: give it a keras.Input first, or call build(input_shape)"
            )
        return model._functional  # noqa: SLF001
    if not hasattr(model, "operations"):
        raise ModelError(
            f"model {model.name!r} is subclassed ({type(model).__name__}): its layer graph can't be read; "
            "rebuild it with the functional API, e.g. keras.Model(inputs, model.call(inputs))"
        )
    return model


def walk(model: keras.Model, inputs: Any, apply: Callable[..., Any]) -> list[Any]:
    """Run through the graph of `model`, nested models included, calling `apply(layer, *args, **kwargs)`.

    Args:
        model: a built functional or Sequential model.
        inputs: one value for each of its inputs (in any structure); may be of any type that `apply` accepts.
        apply: called for each call of each layer, in topological order; what it returns is passed on.

    Returns:
        One value for each of the model's outputs, flat.
    """
    import keras

    def step(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, keras.Model):
            given = args[0] if args else kwargs["inputs"]
            outputs = walk(operation, keras.tree.flatten(given), apply)
            return outputs if len(outputs) > 1 else outputs[0]
        return apply(operation, *args, **kwargs)

    functional = functional_of(model)
    found = functional._run_through_graph(inputs, call_fn=step)  # noqa: SLF001 - the only walk that keeps arguments
    return list(keras.tree.flatten(found))


def copy_layer(layer: Any, **changes: Any) -> Any:
    """A fresh, unbuilt layer of the configuration of `layer`, with `changes` to it; raises `ModelError`."""
    config = {**layer.get_config(), **changes}
    config.pop("build_config", None)
    try:
        return type(layer).from_config(config)
    except Exception as error:
        raise ModelError(
            f"layer {layer.name!r} ({type(layer).__name__}) can't be copied from its configuration: {error}; "
            "replace it by built-in layers, or give it a complete get_config()"
        ) from error


def flatten(model: keras.Model) -> keras.Model:
    """A copy of `model` with weights of its own and without nested models.

    Layers keep their names; a nested model's layer whose name is already taken gets the nested model's name
    as a prefix. Raises `ModelError` for models whose graph can't be read (unbuilt, subclassed).
    """
    functional = functional_of(model)
    names = unique_names(functional, set(functional.output_names))
    return rebuild(model, {}, names=names)


def rebuild(
    model: keras.Model, replace: Mapping[str, Sequence[Part]], *, names: Mapping[int, str] | None = None
) -> keras.Model:
    """Copy `model`, putting a chain of layers in the place of each layer that `replace` names.

    Input names and output names stay what they were: where a replaced layer gave an output its name, an
    `Identity` layer of that name is appended. The copy isn't compiled. A layer that is called several times
    is replaced by one chain that is called as often.

    Args:
        model: a built functional or Sequential model.
        replace: chains by layer name; an empty chain removes a layer that has one input.
        names: new names of layers by `id(layer)`.

    Raises:
        ModelError: the graph can't be read, or a layer can't be copied.
    """
    import keras

    made: dict[int, list[Any]] = {}
    waiting: list[tuple[Any, Sequence[np.ndarray]]] = []

    def make(layer: Any) -> list[Any]:
        if id(layer) not in made:
            name = (names or {}).get(id(layer), layer.name)
            parts = replace.get(layer.name)
            if parts is None:
                renamed = {"name": name} if name != layer.name else {}
                weights = layer.get_weights() if hasattr(layer, "get_weights") else []
                parts = [Part(copy_layer(layer, **renamed), weights)]
            made[id(layer)] = [part.layer for part in parts]
            waiting.extend((part.layer, part.weights) for part in parts if part.weights)
        return made[id(layer)]

    def apply(layer: Any, *args: Any, **kwargs: Any) -> Any:
        layers = make(layer)
        if not layers:
            return args[0]
        value = layers[0](*args, **kwargs)
        for follower in layers[1:]:
            value = follower(value)
        return value

    original = functional_of(model)
    inputs = keras.tree.map_structure(
        lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name), original.input
    )
    flat = name_outputs(walk(original, inputs, apply), original.output_names)
    rebuilt = keras.Model(inputs, keras.tree.pack_sequence_as(original.output, flat), name=model.name)
    for layer, weights in waiting:
        layer.set_weights(weights)
        if hasattr(layer, "finalize_state"):  # Normalization derives what it computes with from its weights
            layer.finalize_state()
    return rebuilt


def name_outputs(outputs: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Append an `Identity` where an output's layer lost the name that the output had."""
    import keras

    return [
        tensor
        if tensor._keras_history.operation.name == name  # noqa: SLF001 - as Keras itself names outputs
        else keras.layers.Identity(name=name)(tensor)
        for tensor, name in zip(outputs, names, strict=True)
    ]


def unique_names(model: Any, reserved: set[str]) -> dict[int, str]:
    """Names by `id(layer)` for the layers of `model` and of its nested models, each name used once."""
    import keras

    names: dict[int, str] = {}
    taken = set(reserved)

    def visit(inner: Any, prefix: str) -> None:
        for operation in inner.operations:
            if isinstance(operation, keras.Model):
                visit(functional_of(operation), f"{prefix}{operation.name}_")
            elif id(operation) not in names and not isinstance(operation, keras.layers.InputLayer):
                own = not prefix and operation.name in reserved
                longer = (f"{prefix}{operation.name}{suffix or ''}" for suffix in count())
                candidates = (name for name in chain([operation.name], longer) if own or name not in taken)
                names[id(operation)] = next(candidates)
                taken.add(names[id(operation)])

    visit(model, "")
    return names


def read_calls(model: keras.Model) -> tuple[Call, ...]:
    """All calls in the flat `model` (see `flatten`), in topological order; input layers are left out."""
    functional = functional_of(model)
    by_depth = functional._nodes_by_depth  # noqa: SLF001 - the one place that knows which calls are the model's
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return tuple(
        Call(node.operation, tuple(node.input_tensors), tuple(node.outputs)) for node in nodes if not node.is_input
    )


def consumers(calls: Sequence[Call]) -> dict[int, list[Call]]:
    """The calls that read each tensor, by `id(tensor)`; tensors that nothing reads are absent."""
    found: dict[int, list[Call]] = {}
    for call in calls:
        for tensor in call.inputs:
            found.setdefault(id(tensor), []).append(call)
    return found
