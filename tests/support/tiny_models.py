"""A tiny real TFLite model for the tests, built with LiteRT's own schema: one FULLY_CONNECTED and a SOFTMAX."""

from __future__ import annotations

import functools

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop.artifact import Artifact, pack_artifact
from edgeloop.manifest import Manifest, ModelFile, TensorSpec

FEATURES, CLASSES = 4, 3
WEIGHTS = np.array([[4, 0, 0, 1], [0, 4, 0, -1], [0, 0, 4, 0]], dtype=np.float32)


@functools.cache
def tiny_model(sign: int = 1) -> bytes:
    """float32 (1, 4) in, probabilities (1, 3) out; `sign` -1 prefers what it else rules out, 0 says the first class."""
    model = schema.ModelT()
    model.version = 3
    model.description = b"tiny"
    model.buffers = [_buffer(None), _buffer(WEIGHTS * np.float32(sign))]
    model.operatorCodes = [_code(schema.BuiltinOperator.FULLY_CONNECTED), _code(schema.BuiltinOperator.SOFTMAX)]
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = [
        _tensor("x", (1, FEATURES), 0),
        _tensor("weights", WEIGHTS.shape, 1),
        _tensor("logits", (1, CLASSES), 0),
        _tensor("probabilities", (1, CLASSES), 0),
    ]
    dense, softmax = schema.FullyConnectedOptionsT(), schema.SoftmaxOptionsT()
    softmax.beta = 1.0
    options = schema.BuiltinOptions
    graph.operators = [
        _operator(0, [0, 1, -1], [2], options.FullyConnectedOptions, dense),
        _operator(1, [2], [3], options.SoftmaxOptions, softmax),
    ]
    graph.inputs, graph.outputs = [0], [3]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def tiny_artifact() -> Artifact:
    """The tiny model with the least that a manifest must say, unsigned."""
    manifest = Manifest(
        name="tiny",
        version=1,
        created="2026-01-01T00:00:00+00:00",
        model=ModelFile(sha256="0" * 64, size_bytes=8),  # packing sets the real ones
        inputs=(TensorSpec("x", (1, FEATURES), "float32"),),
        outputs=(TensorSpec("probabilities", (1, CLASSES), "float32"),),
        task="classification",
    )
    return pack_artifact(tiny_model(), manifest)


def _buffer(array: np.ndarray | None) -> schema.BufferT:
    buffer = schema.BufferT()
    buffer.data = None if array is None else np.frombuffer(array.tobytes(), dtype=np.uint8)
    return buffer


def _code(op: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = op
    code.version = 1
    return code


def _tensor(name: str, shape: tuple[int, ...], buffer: int) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name.encode(), list(shape), buffer
    tensor.type = schema.TensorType.FLOAT32
    return tensor


def _operator(code: int, inputs: list[int], outputs: list[int], kind: int, options: object) -> schema.OperatorT:
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
    operator.builtinOptionsType, operator.builtinOptions = kind, options
    return operator
