"""Cutting one operator out of a model, as a model of its own."""

from __future__ import annotations

import copy

from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite.facts import STATEFUL
from edgeloop_converters.tflite.flatbuffer import as_list, builtin_code, operator_name, serialize

__all__ = ["Isolated", "isolate"]

CONTROL_FLOW = frozenset({"IF", "WHILE", "CALL", "STABLEHLO_COMPOSITE"})


class Isolated:
    """One operator as a model.

    Attributes:
        model: the `.tflite` file.
        inputs: for each input, in order, the tensor's index in the model that it was cut from.
    """

    def __init__(self, model: bytes, inputs: tuple[int, ...]) -> None:
        self.model = model
        self.inputs = inputs


def isolate(tree: schema.ModelT, index: int) -> Isolated | None:
    """Cut operator `index` out of the main subgraph, with what computes its operands from constants alone.

    Returns:
        None for operators that keep state, call other subgraphs or are custom.
    """
    main = tree.subgraphs[0]
    chosen = with_constant_producers(tree, index)
    names = {operator_name(tree.operatorCodes[op.opcodeIndex]) for op in chosen}
    custom = any(builtin_code(tree.operatorCodes[op.opcodeIndex]) == schema.BuiltinOperator.CUSTOM for op in chosen)
    used = sorted({i for op in chosen for i in (*as_list(op.inputs), *as_list(op.outputs)) if i >= 0})
    if custom or names & (STATEFUL | CONTROL_FLOW) or any(main.tensors[i].isVariable for i in used):
        return None
    made = {t for op in chosen for t in as_list(op.outputs)}
    place = {old: new for new, old in enumerate(used)}
    buffers, tensors = [schema.BufferT()], []
    for old in used:
        tensor = copy.copy(main.tensors[old])
        data = tree.buffers[tensor.buffer].data
        tensor.buffer = 0
        if data is not None and len(data):
            buffers.append(schema.BufferT(data=data))
            tensor.buffer = len(buffers) - 1
        tensors.append(tensor)
    inputs = tuple(old for new, old in enumerate(used) if tensors[new].buffer == 0 and old not in made)
    operators = []
    for op in chosen:
        moved = copy.copy(op)
        moved.inputs = [place.get(i, -1) for i in as_list(op.inputs)]
        moved.outputs = [place[i] for i in as_list(op.outputs)]
        moved.intermediates = moved.mutatingVariableInputs = None
        operators.append(moved)
    subgraph = schema.SubGraphT(
        tensors=tensors,
        inputs=[place[i] for i in inputs],
        outputs=[place[i] for i in as_list(main.operators[index].outputs)],
        operators=operators,
    )
    cut = schema.ModelT(version=3, operatorCodes=tree.operatorCodes, subgraphs=[subgraph], buffers=buffers)
    return Isolated(serialize(cut), inputs)


def with_constant_producers(tree: schema.ModelT, index: int) -> list[schema.OperatorT]:
    """The operator, after those that make its operands from constants (such as weights to dequantize)."""
    main = tree.subgraphs[0]
    producer = {t: op for op in main.operators for t in as_list(op.outputs)}

    def constant(tensor: int) -> bool:
        data = tree.buffers[main.tensors[tensor].buffer].data
        if data is not None and len(data):
            return True
        op = producer.get(tensor)
        return op is not None and all(constant(i) for i in as_list(op.inputs) if i >= 0) and len(as_list(op.inputs)) > 0

    found: list[schema.OperatorT] = []

    def add(op: schema.OperatorT) -> None:
        for tensor in as_list(op.inputs):
            if tensor in producer and constant(tensor) and producer[tensor] not in found:
                add(producer[tensor])
        found.append(op)

    add(main.operators[index])
    return found
