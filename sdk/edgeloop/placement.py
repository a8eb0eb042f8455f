"""Which of a loaded model's operators run outside of a delegate, and whether its tensors stay where they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

__all__ = ["Op", "keeps_its_memory", "ops_of", "outside_of_delegates"]

_DELEGATE = "DELEGATE"

# Operators whose outputs have the shapes that their inputs' shapes and options give, or a constant input.
# fmt: off
_FIXED_SHAPE = frozenset((
    "ABS", "ADD", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CONCATENATION", "CONV_2D",
    "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV", "ELU", "EXP", "EXPAND_DIMS", "FLOOR", "FULLY_CONNECTED", "GELU",
    "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LOGISTIC", "LOG", "LOG_SOFTMAX", "MAX_POOL_2D", "MAXIMUM",
    "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE", "REDUCE_MAX",
    "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RSQRT",
    "SLICE", "SOFTMAX", "SPLIT", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM",
    "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
))
# fmt: on
_SHAPE_DTYPES = ("int32", "int64")


class Op(NamedTuple):
    """One node of the graph: its name, its tensors' indices, and its inputs' dtypes."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_dtypes: tuple[str, ...]


def ops_of(interpreter: Any) -> tuple[Op, ...]:
    """The graph's nodes after allocation, the delegates' own last; none where the interpreter doesn't tell."""
    details: list[dict[str, Any]] = getattr(interpreter, "_get_ops_details", list)()
    dtypes = {detail["index"]: np.dtype(detail["dtype"]).name for detail in interpreter.get_tensor_details()}
    ops = []
    for detail in details:
        inputs = tuple(int(i) for i in detail["inputs"] if i >= 0)
        # what the interpreter doesn't describe might be a shape
        kinds = tuple(dtypes.get(i, _SHAPE_DTYPES[0]) for i in inputs)
        ops.append(Op(detail["op_name"], inputs, tuple(int(i) for i in detail["outputs"]), kinds))
    return tuple(ops)


def outside_of_delegates(ops: Iterable[Op]) -> tuple[str, ...]:
    """The names of the operators that no delegate has taken, in the graph's order, each as often as it is there.

    A delegate's node names what goes into it and what comes out: what lies between is its own.
    """
    ops = tuple(ops)
    producers = {tensor: op for op in ops if op.name != _DELEGATE for tensor in op.outputs}
    taken: set[Op] = set()
    for delegate in (op for op in ops if op.name == _DELEGATE):
        todo = list(delegate.outputs)
        while todo:
            op = producers.get(todo.pop())
            if op is not None and op not in taken:
                taken.add(op)
                todo += [tensor for tensor in op.inputs if tensor not in delegate.inputs]
    return tuple(op.name for op in ops if op.name != _DELEGATE and op not in taken)


def keeps_its_memory(ops: Iterable[Op], graph_inputs: Iterable[int]) -> bool:
    """Whether the interpreter never moves this graph's tensors once they are allocated.

    It does, within a call, where an operator's output has a shape that only the data tell: the arena is planned anew.
    So it is only said of graphs whose operators are all known, with no integers computed that could be a shape.
    """
    ops = tuple(op for op in ops if op.name != _DELEGATE)
    computed = {tensor for op in ops for tensor in op.outputs} | set(graph_inputs)
    return bool(ops) and all(
        op.name in _FIXED_SHAPE
        and not any(
            tensor in computed and dtype in _SHAPE_DTYPES
            for tensor, dtype in zip(op.inputs, op.input_dtypes, strict=True)
        )
        for op in ops
    )
