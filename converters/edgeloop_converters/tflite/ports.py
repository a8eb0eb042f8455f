"""The order and the names of a model's inputs and outputs, which converters choose as they like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgeloop.errors import ModelError
from edgeloop_converters.tflite.flatbuffer import parse, serialize, text

__all__ = ["arrange", "output_first", "port_names"]


def port_names(model: bytes) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of the inputs and of the outputs, in the model's order: the only signature's, else the tensors' own.

    Raises:
        ModelError: the model is damaged.
    """
    tree = parse(model)
    graph = tree.subgraphs[0]
    given = _given_names(tree)
    inputs, outputs = ([int(i) for i in side] for side in (graph.inputs, graph.outputs))
    return (
        tuple(given[0].get(i, text(graph.tensors[i].name)) for i in inputs),
        tuple(given[1].get(i, text(graph.tensors[i].name)) for i in outputs),
    )


def arrange(
    model: bytes, inputs: Sequence[str], outputs: Sequence[str], *, renamed: Mapping[str, str] | None = None
) -> bytes:
    """The same model with its inputs and outputs in this order.

    Args:
        model: the `.tflite` file.
        inputs: all of its inputs by name, as `port_names` gives them.
        outputs: all of its outputs, likewise.
        renamed: other names for outputs of its signature.

    Raises:
        ModelError: the model is damaged, or these aren't its inputs and outputs.
    """
    mine = port_names(model)
    if mine == (tuple(inputs), tuple(outputs)) and not renamed:
        return model
    for what, has, wanted in (("inputs", mine[0], inputs), ("outputs", mine[1], outputs)):
        if sorted(has) != sorted(wanted):
            raise ModelError(f"the model has the {what} {', '.join(has)}, not {', '.join(wanted)}")
    tree = parse(model)
    graph = tree.subgraphs[0]
    graph.inputs = [int(graph.inputs[mine[0].index(name)]) for name in inputs]
    graph.outputs = [int(graph.outputs[mine[1].index(name)]) for name in outputs]
    for signature in tree.signatureDefs or ():
        for entry in signature.outputs:
            entry.name = (renamed or {}).get(text(entry.name), text(entry.name)).encode()
    return serialize(tree)


def output_first(model: bytes, name: str) -> bytes:
    """The same model with this output before the others. Raises `ModelError` where it has none of that name."""
    inputs, outputs = port_names(model)
    if name not in outputs:
        raise ModelError(f"the model has no output {name!r}: its outputs are {', '.join(outputs)}")
    return arrange(model, inputs, (name, *(other for other in outputs if other != name)))


def _given_names(tree: Any) -> tuple[dict[int, str], dict[int, str]]:
    signatures = list(tree.signatureDefs or [])
    if len(signatures) != 1:
        return {}, {}
    inputs, outputs = (
        {int(entry.tensorIndex): text(entry.name) for entry in side}
        for side in (signatures[0].inputs, signatures[0].outputs)
    )
    return inputs, outputs
