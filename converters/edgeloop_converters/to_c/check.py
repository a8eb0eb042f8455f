"""What stands in the way of compiling a model: everything at once, before any code is written."""

from __future__ import annotations

from collections.abc import Iterable

from edgeloop.errors import ModelError
from edgeloop_converters.to_c.graph import ELEMENT_BYTES, Graph, Op
from edgeloop_converters.to_c.ops import KINDS

__all__ = ["check_graph", "problems"]

_MOST = 20

CONSTANT_OPERANDS = frozenset({"ADD", "MUL"})


def check_graph(graph: Graph, subgraphs: int) -> None:
    """Raise where the graph can't be compiled.

    Raises:
        ModelError: names the operators and tensors that stand in the way, up to 20 of them.
    """
    dtypes = {t.dtype for op in graph.ops for t in (*op.inputs, *op.outputs) if t is not None}
    if dtypes and "int8" not in dtypes and any(dtype.startswith("float") for dtype in dtypes):
        raise ModelError(
            f"the model computes in {', '.join(sorted(dtypes))}, and only full-integer int8 is compiled to C: "
            "make it so with `edgeloop convert` first"
        )
    found = list(dict.fromkeys(problems(graph, subgraphs)))
    if found:
        more = f"; and {len(found) - _MOST} more" if len(found) > _MOST else ""
        listed = "; ".join(found[:_MOST])
        raise ModelError(f"the model can't be compiled to C: {listed}{more}. Compiled are int8 {', '.join(KINDS)}")


def problems(graph: Graph, subgraphs: int) -> Iterable[str]:
    """All that stands in the way, one phrase each."""
    if subgraphs != 1:
        yield f"it has {subgraphs} subgraphs (control flow), where one is compiled"
    if not graph.ops:
        yield "it has no operators"
    yield from ends(graph)
    written = {t.index for t in graph.inputs}
    for op in graph.ops:
        yield from (f"{op} {phrase}" for phrase in op_problems(op, written))
        for tensor in op.outputs:
            if tensor.index in written:
                yield f"{op} writes tensor {tensor.index} ({tensor}), which has its values already"
            written.add(tensor.index)
    for tensor in graph.outputs:
        if tensor.index not in written:
            yield f"output tensor {tensor.index} ({tensor}) is written by no operator"


def ends(graph: Graph) -> Iterable[str]:
    """What is wrong with the model's inputs and outputs, and with shapes that aren't fixed."""
    for role, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        if not tensors:
            yield f"it has no {role}"
        if len({t.index for t in tensors}) != len(tensors):
            yield f"it names an {role} twice"
        for tensor in tensors:
            if tensor.dtype not in ELEMENT_BYTES or not tensor.elements:
                yield f"{role} tensor {tensor.index} ({tensor}) is {tensor.dtype}"
    for tensor in {t.index: t for op in graph.ops for t in (*op.inputs, *op.outputs) if t is not None}.values():
        if tensor.facts.variable:
            yield f"tensor {tensor.index} ({tensor}) keeps its value from call to call"
        # A batch that may be resized is compiled as the one sample that is allocated.
        signature = tensor.facts.shape_signature
        if any(size < 0 and (axis or tensor.shape[0] != 1) for axis, size in enumerate(signature)):
            yield f"tensor {tensor.index} ({tensor}) has a shape that isn't fixed: {signature}"


def op_problems(op: Op, written: set[int]) -> Iterable[str]:
    """What is wrong with one operator."""
    kind = KINDS.get(op.kind)
    if kind is None:
        yield "isn't among the operators that are compiled"
        return
    if not op.inputs or len(op.outputs) != 1:
        yield f"has {len(op.inputs)} inputs and {len(op.outputs)} outputs"
        return
    unread = list(missing(op, written))
    if unread or any(t is not None and t.elements == 0 for t in (*op.inputs, *op.outputs)):
        yield from unread or ["has an empty tensor"]
        return
    try:
        yield from kind.problems(op)
    except (LookupError, AttributeError, ValueError) as error:
        yield f"is damaged: {type(error).__name__}: {error}"


def missing(op: Op, written: set[int]) -> Iterable[str]:
    """Inputs that nothing writes."""
    for position, tensor in enumerate(op.inputs):
        if tensor is None or tensor.index in written:
            continue
        if not tensor.facts.constant:
            yield f"reads tensor {tensor.index} ({tensor}), which nothing writes before it"
        elif position == 0 and op.kind not in CONSTANT_OPERANDS:
            yield f"reads the constant tensor {tensor.index} ({tensor}) where an activation is compiled"
