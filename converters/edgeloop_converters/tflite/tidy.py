"""A smaller file of the same model: equal vectors are written once, and names lose their histories."""

from __future__ import annotations

from edgeloop_converters.tflite.flatbuffer import parse, serialize, text

__all__ = ["tidy"]


def tidy(model: bytes) -> bytes:
    """Write a model anew, for what converters leave behind in it.

    TensorFlow's converter names a tensor after every layer that was fused into it
    (`net/c1/Relu;net/bn1/FusedBatchNormV3;net/c1/Conv2D`): the first of these stays, with a number where two would be
    the same. Inputs and outputs keep their names. No operator, weight or scale changes.

    Raises:
        ModelError: the model is damaged.
    """
    tree = parse(model)
    for subgraph in tree.subgraphs:
        ends = {*map(int, subgraph.inputs), *map(int, subgraph.outputs)}
        taken = {text(subgraph.tensors[i].name) for i in ends}
        inner = [t for i, t in enumerate(subgraph.tensors) if i not in ends]
        # What is computed has the first say: its name is what a person looks for.
        inner.sort(key=lambda t: tree.buffers[t.buffer].data is not None and len(tree.buffers[t.buffer].data) > 0)
        for tensor in inner:
            short = text(tensor.name).partition(";")[0]
            name = short if short not in taken else f"{short}:{len(taken)}"
            taken.add(name)
            tensor.name = name.encode()
    return serialize(tree)
