"""Which operators of a loaded model XNNPACK takes over, and in how many pieces.

Each piece ("partition") costs a hand-over: a net that falls into many can be several times slower than one
that stays whole, though each operator alone is fast.
"""

from __future__ import annotations

from typing import Any

import msgspec

from edgeloop_converters.tflite.interpreter import open_interpreter

__all__ = ["Delegation", "OutsideOp", "delegation"]

DELEGATE = "DELEGATE"


class OutsideOp(msgspec.Struct, frozen=True):
    """An operator that LiteRT's own kernels run: its index in the main subgraph, and its name."""

    index: int
    name: str


class Delegation(msgspec.Struct, frozen=True):
    """How the main subgraph is divided between XNNPACK and LiteRT's own kernels.

    Attributes:
        nodes: operators in the main subgraph.
        delegated: those that XNNPACK runs.
        partitions: the pieces that it runs them in.
        outside: the others, in the order of execution.
    """

    nodes: int
    delegated: int
    partitions: int
    outside: tuple[OutsideOp, ...]


def delegation(model: bytes) -> Delegation:
    """Load a model with the default resolver and read how it was divided.

    LiteRT lists the operators of the file first and appends one DELEGATE node for each partition; a partition
    holds the operators between its inputs and its outputs.

    Raises:
        ModelError: the model can't be loaded.
    """
    interpreter = open_interpreter(model)
    listed = interpreter._get_ops_details()  # noqa: SLF001 - the public interface has no list of operators
    ops = [op for op in listed if op["op_name"] != DELEGATE]
    pieces = [op for op in listed if op["op_name"] == DELEGATE]
    inside: set[int] = set()
    for piece in pieces:
        inside |= between(ops, set(map(int, piece["inputs"])), list(map(int, piece["outputs"])))
    return Delegation(
        nodes=len(ops),
        delegated=len(inside),
        partitions=len(pieces),
        outside=tuple(OutsideOp(int(op["index"]), op["op_name"]) for op in ops if op["index"] not in inside),
    )


def between(ops: list[dict[str, Any]], inputs: set[int], outputs: list[int]) -> set[int]:
    """The indices of the operators on the ways from `outputs` back to `inputs` (tensor indices)."""
    producer = {int(tensor): op for op in ops for tensor in op["outputs"]}
    found: set[int] = set()
    open_ends = list(outputs)
    while open_ends:
        tensor = open_ends.pop()
        op = producer.get(tensor)
        if op is None or tensor in inputs or op["index"] in found:
            continue
        found.add(int(op["index"]))
        open_ends.extend(map(int, op["inputs"]))
    return found
