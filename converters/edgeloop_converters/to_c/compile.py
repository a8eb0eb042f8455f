"""A `.tflite` model as self-contained C99, whose outputs are those of TFLite's reference kernels, bit for bit."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import NamedTuple

from edgeloop.errors import ConfigError
from edgeloop_converters.tflite.flatbuffer import parse
from edgeloop_converters.to_c.check import check_graph
from edgeloop_converters.to_c.graph import Graph, read_graph
from edgeloop_converters.to_c.ops import KINDS
from edgeloop_converters.to_c.planner import Block, plan
from edgeloop_converters.to_c.writer import write_header, write_source

__all__ = ["CSource", "compile_to_c"]


class CSource(NamedTuple):
    """A compiled model.

    Attributes:
        header: `NAME.h`.
        source: `NAME.c`.
        arena_bytes: the static arena, the model's inputs and outputs in it.
        constant_bytes: weights, biases, scales and tables, as far as they are the model's.
        ops: how many operators.
        sha256: of the model that was given.
    """

    header: str
    source: str
    arena_bytes: int
    constant_bytes: int
    ops: int
    sha256: str


def compile_to_c(model: bytes, name: str, *, seed: int = 0) -> CSource:
    """Compile a full-integer model to C.

    The same model and name give the same bytes.

    Args:
        model: the `.tflite` file, without an appended manifest.
        name: the prefix of all that is public in C.
        seed: of the planner's search.

    Raises:
        ConfigError: `name` isn't a C identifier.
        ModelError: the model is damaged, or names all that can't be compiled.
    """
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,30}", name):
        raise ConfigError(
            f"{name!r} can't be a prefix in C: use at most 31 letters, digits and underscores, a letter first"
        )
    tree = parse(model)
    graph = read_graph(tree)
    check_graph(graph, len(tree.subgraphs))
    planned = plan(list(blocks(graph)), seed=seed)
    sha256 = hashlib.sha256(model).hexdigest()
    operands = {t.index: t for op in graph.ops for t in op.inputs if t is not None}
    return CSource(
        write_header(graph, planned, name, sha256),
        write_source(graph, planned, name, sha256),
        planned.arena_bytes,
        sum(t.values.nbytes for t in operands.values() if t.values is not None),
        len(graph.ops),
        sha256,
    )


def blocks(graph: Graph) -> Iterable[Block]:
    """The activations with their lives and leads, for the planner."""
    born = {t.index: -1 for t in graph.inputs}
    dies = dict(born)
    for op in graph.ops:
        born.update({t.index: op.index for t in op.outputs})
        dies.update({t.index: op.index for t in (*op.inputs, *op.outputs) if t is not None})
    end = graph.ops[-1].index + 1
    dies.update({t.index: end for t in graph.outputs})
    writers = {op.output.index: op for op in graph.ops}
    for index, first in born.items():
        tensor = graph.tensors[index]
        writer = writers.get(index)
        leads = {} if writer is None else KINDS[writer.kind].leads(writer)
        over = {key: lead for key, lead in leads.items() if dies.get(key) == first}
        alignment = 4 if tensor.dtype == "float32" else 1
        yield Block(index, tensor.size_bytes, first, dies[index], over, alignment)
