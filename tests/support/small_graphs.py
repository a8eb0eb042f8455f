"""Small real TFLite models, built with LiteRT's own schema: several inputs and outputs, and ones that mix a batch."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

B = schema.BuiltinOperator
Op = tuple[int, list[int], list[int]]
WIDTH = 4


def graph(names: list[str], ops: list[Op], inputs: list[int], outputs: list[int], **more: object) -> bytes:
    """A float32 model.

    Args:
        names: of its tensors, all of shape (1, 4) unless `shapes` says otherwise.
        ops: operator code, input tensors, output tensors.
        inputs: tensors.
        outputs: tensors.
        more: `shapes`, and constant `values` (int32) by tensor; `int64` tensors.
    """
    shapes, values = dict(more.get("shapes", {})), dict(more.get("values", {}))
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    main = schema.SubGraphT()
    main.tensors = []
    for index, name in enumerate(names):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shapes.get(index, (1, WIDTH))), 0
        tensor.type = schema.TensorType.INT64 if index in more.get("int64", ()) else schema.TensorType.FLOAT32
        if index in values:
            constant = schema.BufferT()
            constant.data = np.frombuffer(np.array(values[index], np.int32).tobytes(), np.uint8)
            model.buffers.append(constant)
            tensor.shape, tensor.type, tensor.buffer = [len(values[index])], schema.TensorType.INT32, len(values)
        main.tensors.append(tensor)
    codes = sorted({code for code, _, _ in ops})
    model.operatorCodes = []
    for code in codes:
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        model.operatorCodes.append(entry)
    main.operators = [_operator(codes.index(code), code, ins, outs) for code, ins, outs in ops]
    main.inputs, main.outputs = inputs, outputs
    model.subgraphs = [main]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_entry(f"my_{names[i]}", i) for i in inputs]
    signature.outputs = [_entry(f"my_{names[i]}", i) for i in outputs]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def sum_and_product() -> bytes:
    """Inputs my_a and my_b, outputs my_sum and my_product."""
    return graph(["a", "b", "sum", "product"], [(B.ADD, [0, 1], [2]), (B.MUL, [0, 1], [3])], [0, 1], [2, 3])


def product_and_sum() -> bytes:
    """The same, with the product first."""
    return graph(["a", "b", "sum", "product"], [(B.ADD, [0, 1], [2]), (B.MUL, [0, 1], [3])], [0, 1], [3, 2])


def plus_mean_over_batch() -> bytes:
    """What a batch changes without an error: x plus the mean of x over the batch."""
    ops = [(B.MEAN, [0, 1], [2]), (B.ADD, [0, 2], [3])]
    return graph(["x", "axis", "mean", "y"], ops, [0], [3], values={1: [0]})


def fixed_reshape() -> bytes:
    """A model that can't be made larger: its batch is written into a RESHAPE."""
    ops = [(B.RESHAPE, [0, 1], [2]), (B.ADD, [2, 2], [3])]
    return graph(["x", "shape", "flat", "y"], ops, [0], [3], values={1: [1, WIDTH]})


def where_nonzero() -> bytes:
    """As many rows out as x has values that aren't 0."""
    return graph(["x", "places"], [(B.WHERE, [0], [1])], [0], [1], shapes={1: ()}, int64=(1,))


def _entry(name: str, tensor: int) -> schema.TensorMapT:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = name.encode(), tensor
    return entry


def _operator(position: int, code: int, inputs: list[int], outputs: list[int]) -> schema.OperatorT:
    kinds = {
        B.ADD: (schema.BuiltinOptions.AddOptions, schema.AddOptionsT()),
        B.MUL: (schema.BuiltinOptions.MulOptions, schema.MulOptionsT()),
        B.MEAN: (schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()),
        B.WHERE: (schema.BuiltinOptions.WhereOptions, schema.WhereOptionsT()),
        B.RESHAPE: (schema.BuiltinOptions.ReshapeOptions, schema.ReshapeOptionsT()),
    }
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = position, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kinds[code]
    return operator
