"""The part of a `.tflite` file that is compiled: the main subgraph's operators over tensors with their values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite.facts import TensorFacts, tensor_facts
from edgeloop_converters.tflite.flatbuffer import as_list, operator_name

__all__ = ["ELEMENT_BYTES", "Array", "Graph", "Op", "Tensor", "read_graph"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ELEMENT_BYTES = {"int8": 1, "uint8": 1, "float32": 4}  # of what may stand in the arena
VALUES = {"int8": np.int8, "uint8": np.uint8, "int32": np.int32, "int64": np.int64, "float32": np.float32}


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor.

    Attributes:
        facts: what the file says of it.
        values: its values where the file holds them, in the tensor's shape; None for activations, and for
            constants of a type that isn't compiled.
        sparse: whether the file holds them in a sparse encoding.
    """

    facts: TensorFacts
    values: Array | None
    sparse: bool

    @property
    def index(self) -> int:
        """Its index in the subgraph."""
        return self.facts.index

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return self.facts.shape

    @property
    def dtype(self) -> str:
        """The type of its elements."""
        return self.facts.dtype

    @property
    def scale(self) -> float:
        """Its one scale, a float32 number."""
        return self.facts.scales[0]

    @property
    def zero_point(self) -> int:
        """Its one zero point."""
        return self.facts.zero_points[0] if self.facts.zero_points else 0

    @property
    def elements(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """What it takes in the arena."""
        return self.elements * ELEMENT_BYTES[self.dtype]

    def __str__(self) -> str:
        """Its name and shape, for comments and messages."""
        return f"{self.facts.name or '(no name)'} {'x'.join(map(str, self.shape)) or 'scalar'}"


@dataclass(frozen=True, eq=False)
class Op:
    """One operator.

    Attributes:
        index: its place in the order of execution.
        kind: the schema's name.
        inputs: tensors; None for an optional one that is absent.
        outputs: tensors.
        options: the schema's table for this kind, or None.
    """

    index: int
    kind: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: Any

    @property
    def output(self) -> Tensor:
        """Its first output."""
        return self.outputs[0]

    def input(self, position: int) -> Tensor:
        """An input that is there; see `optional`."""
        found = self.inputs[position]
        if found is None:
            raise LookupError(f"op {self.index} has no input {position}")
        return found

    def optional(self, position: int) -> Tensor | None:
        """An input that may be absent, or left out at the end."""
        return self.inputs[position] if position < len(self.inputs) else None

    def __str__(self) -> str:
        """Its index and kind, for comments and messages."""
        return f"op {self.index} ({self.kind})"


@dataclass(frozen=True, eq=False)
class Graph:
    """The main subgraph.

    Attributes:
        tensors: by index.
        ops: in the order of execution; those that no output depends on are left out.
        inputs: the model's inputs.
        outputs: the model's outputs.
    """

    tensors: tuple[Tensor, ...]
    ops: tuple[Op, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


def read_graph(tree: schema.ModelT) -> Graph:
    """The main subgraph of a parsed model.

    A RESHAPE's second input isn't read: the output's shape is fixed. Thereby the operators fall away that TensorFlow
    writes to compute it from the batch size (SHAPE, STRIDED_SLICE, PACK).
    """
    main = tree.subgraphs[0]
    tensors = tuple(read_tensor(i, t, tree.buffers) for i, t in enumerate(main.tensors or ()))
    ops = tuple(
        Op(
            index,
            operator_name(tree.operatorCodes[op.opcodeIndex]),
            tuple(tensors[i] if i >= 0 else None for i in as_list(op.inputs)),
            tuple(tensors[i] for i in as_list(op.outputs)),
            op.builtinOptions,
        )
        for index, op in enumerate(main.operators or ())
    )
    inputs = tuple(tensors[i] for i in as_list(main.inputs))
    outputs = tuple(tensors[i] for i in as_list(main.outputs))
    return Graph(tensors, needed_ops(ops, outputs), inputs, outputs)


def needed_ops(ops: tuple[Op, ...], outputs: tuple[Tensor, ...]) -> tuple[Op, ...]:
    """The operators that the outputs depend on, the inputs that they read alone."""
    wanted = {t.index for t in outputs}
    found = []
    for op in reversed(ops):
        if wanted.intersection(t.index for t in op.outputs):
            read = replace(op, inputs=op.inputs[:1]) if op.kind == "RESHAPE" else op
            wanted.update(t.index for t in read.inputs if t is not None)
            found.append(read)
    return tuple(reversed(found))


def read_tensor(index: int, tensor: schema.TensorT, buffers: list[schema.BufferT]) -> Tensor:
    """One tensor with its values."""
    facts = tensor_facts(index, tensor, buffers)
    sparse = tensor.sparsity is not None
    values: Array | None = None
    if facts.constant and not sparse and facts.dtype in VALUES:
        raw = np.asarray(buffers[tensor.buffer].data, np.uint8).tobytes()
        dtype = np.dtype(VALUES[facts.dtype]).newbyteorder("<")
        values = np.frombuffer(raw, dtype).reshape(facts.shape)
    return Tensor(facts, values, sparse)
