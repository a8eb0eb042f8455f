"""Reading and writing the TFLite flatbuffer, so that a damaged file is an error and never a crash.

Every offset is followed in Python, where a bad one raises; then every index (tensor, buffer, operator code,
subgraph) and every buffer's length is checked. LiteRT 2.3 verifies what it is given too, and older runtimes
don't; here the message says what is wrong and where. `serialize` writes offsets afresh and aligns the
weights.
"""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Iterable
from typing import Any, TypeAlias

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgeloop.errors import ModelError

__all__ = ["DTYPES", "OPERATORS", "builtin_code", "bytes_of", "operator_name", "parse", "serialize", "text"]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

IDENTIFIER = b"TFL3"
LARGEST_BYTES = 2**31 - 1  # flatbuffer offsets are signed 32-bit
BUFFER_ALIGNMENT = 16  # the schema's force_align for weights; XNNPACK and TFLite Micro read them in place

DTYPES: dict[int, str] = {v: k.lower() for k, v in vars(schema.TensorType).items() if isinstance(v, int)}
OPERATORS: dict[int, str] = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
BITS = {
    "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16, "float8_e4m3fn": 8, "float8_e5m2": 8,
    "bool": 8, "int64": 64, "int32": 32, "int16": 16, "int8": 8, "int4": 4, "int2": 2,
    "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "uint4": 4, "complex64": 64, "complex128": 128,
}  # fmt: skip

# What flatbuffers, struct and numpy raise when an offset, a length or a string is garbage.
GARBAGE = (struct.error, ValueError, TypeError, LookupError, AttributeError, OverflowError, MemoryError)


def parse(model: bytes) -> schema.ModelT:
    """Unpack a `.tflite` file into the schema's object tree, with every index in it checked.

    Weights that lie outside the flatbuffer (files past 2 GB) are brought into their buffers.

    Raises:
        ModelError: the bytes aren't a TFLite model, were cut off, or name a tensor, buffer or operator that
            isn't there.
    """
    if len(model) < 8 or model[4:8] != IDENTIFIER:
        raise ModelError(f"not a TFLite model ({len(model)} bytes): no {IDENTIFIER!r} at byte 4")
    if len(model) > LARGEST_BYTES:
        raise ModelError(f"the model has {len(model)} bytes; more than {LARGEST_BYTES} can't be rewritten")
    try:
        tree = schema.ModelT.InitFromPackedBuf(bytes(model), 0)
        bring_in_buffers(tree, model)
        problem = next(iter(problems(tree)), None)
    except GARBAGE as error:
        raise ModelError(
            f"the TFLite model of {len(model)} bytes is damaged or cut off "
            f"({type(error).__name__}: {error}): compare it with its SHA-256 and copy it again"
        ) from error
    if problem is not None:
        raise ModelError(f"the TFLite model is damaged: {problem}")
    return tree


def serialize(model: schema.ModelT) -> bytes:
    """Pack an object tree into a `.tflite` file with its weights aligned to 16 bytes.

    (The schema's own `Pack` aligns them to one byte.)

    Raises:
        ModelError: the tree can't be packed, e.g. it grew past 2 GB.
    """
    packable = copy.copy(model)
    packable.buffers = [AlignedBuffer(buffer.data) for buffer in model.buffers]
    builder = SharingBuilder()
    try:
        builder.Finish(packable.Pack(builder), file_identifier=IDENTIFIER)
    except (*GARBAGE, flatbuffers.builder.BuilderSizeError) as error:
        raise ModelError(f"the model can't be written: {type(error).__name__}: {error}") from error
    return bytes(builder.Output())


class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]  # flatbuffers ships no types
    """A builder that writes equal vectors once: zero points of many channels, and shapes, repeat a lot.

    FlatBuffers let tables share what they refer to; an int8 keyword-spotting net is a fifth smaller with it.
    """

    def __init__(self) -> None:
        super().__init__(1024)
        self.written: dict[tuple[str, bytes], int] = {}

    def CreateNumpyVector(self, x: Array) -> int:  # noqa: N802 - the builder's name
        """Write a vector, or refer to the equal one that is there."""
        key = (x.dtype.str, x.tobytes())
        if key not in self.written:
            self.written[key] = int(super().CreateNumpyVector(x))
        return self.written[key]


class AlignedBuffer:
    """A `BufferT` whose data starts at a multiple of 16 bytes in the file."""

    def __init__(self, data: Any) -> None:
        self.payload = None if data is None else np.asarray(data, np.uint8).tobytes()

    def Pack(self, builder: Any) -> int:  # noqa: N802 - the schema's name
        """Write the buffer's table, and give back its offset."""
        where = None
        if self.payload is not None:
            builder.StartVector(1, len(self.payload), BUFFER_ALIGNMENT)
            builder.head -= len(self.payload)
            builder.Bytes[builder.head : builder.head + len(self.payload)] = self.payload
            where = builder.EndVector()
        schema.BufferStart(builder)
        if where is not None:
            schema.BufferAddData(builder, where)
        return int(schema.BufferEnd(builder))


def text(value: bytes | str | None) -> str:
    """A flatbuffer string as `str`; empty where there is none."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value or ""


def builtin_code(code: schema.OperatorCodeT) -> int:
    """An operator's code: the larger of both fields, as the schema prescribes.

    Files from before TensorFlow 2.4 fill `deprecated_builtin_code` only.
    """
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def operator_name(code: schema.OperatorCodeT) -> str:
    """An operator's name as in the schema, or the name that a custom operator was registered under."""
    number = builtin_code(code)
    return text(code.customCode) if number == schema.BuiltinOperator.CUSTOM else OPERATORS[number]


def bytes_of(dtype: str, elements: int) -> int | None:
    """The bytes that so many values take, packed (two int4 in one); None for strings and handles."""
    bits = BITS.get(dtype)
    return None if bits is None else -(-int(elements) * bits // 8)


def bring_in_buffers(tree: schema.ModelT, model: bytes) -> None:
    """Copy data that lies behind the flatbuffer into the tree; raises ValueError where it lies outside."""

    def outside(offset: int, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        if offset + size > len(model):
            raise ValueError(f"data at {offset}–{offset + size} lies past the end")
        return np.frombuffer(model, np.uint8, size, offset)

    for buffer in tree.buffers:
        if buffer.offset > 1:  # 0 and 1 mean "in the flatbuffer"
            buffer.data = outside(buffer.offset, buffer.size)
        buffer.offset = buffer.size = 0
    for subgraph in tree.subgraphs:
        for op in subgraph.operators or ():
            if op.largeCustomOptionsOffset > 1:
                op.customOptions = outside(op.largeCustomOptionsOffset, op.largeCustomOptionsSize)
            op.largeCustomOptionsOffset = op.largeCustomOptionsSize = 0


def problems(tree: schema.ModelT) -> Iterable[str]:
    """What is wrong with the indices of a tree, one line each."""
    if not tree.subgraphs:
        yield "it has no subgraph"
    for number, code in enumerate(tree.operatorCodes or ()):
        if builtin_code(code) not in OPERATORS:
            yield f"operator code {number} is {builtin_code(code)}, which this LiteRT doesn't know"
    for number, subgraph in enumerate(tree.subgraphs):
        for line in subgraph_problems(subgraph, len(tree.operatorCodes or ()), tree.buffers):
            yield f"subgraph {number}: {line}"
    for signature in tree.signatureDefs or ():
        name = text(signature.signatureKey)
        if signature.subgraphIndex >= len(tree.subgraphs):
            yield f"signature {name!r} names subgraph {signature.subgraphIndex} of {len(tree.subgraphs)}"
            continue
        count = len(tree.subgraphs[signature.subgraphIndex].tensors or ())
        if any(t.tensorIndex >= count for t in [*(signature.inputs or ()), *(signature.outputs or ())]):
            yield f"signature {name!r} names a tensor past the last of {count}"


def subgraph_problems(subgraph: schema.SubGraphT, codes: int, buffers: list[schema.BufferT]) -> Iterable[str]:
    """What is wrong inside one subgraph."""
    tensors = subgraph.tensors or []
    for index, tensor in enumerate(tensors):
        line = tensor_problem(tensor, buffers)
        if line:
            yield f"tensor {index} ({text(tensor.name)!r}) {line}"
    for index in [*as_list(subgraph.inputs), *as_list(subgraph.outputs)]:
        if not 0 <= index < len(tensors):
            yield f"its inputs or outputs name tensor {index} of {len(tensors)}"
    for index, op in enumerate(subgraph.operators or ()):
        if not 0 <= op.opcodeIndex < codes:
            yield f"op {index} names operator code {op.opcodeIndex} of {codes}"
        optional = [*as_list(op.inputs), *as_list(op.intermediates)]
        if not all(-1 <= i < len(tensors) for i in optional) or not all(
            0 <= i < len(tensors) for i in as_list(op.outputs)
        ):
            yield f"op {index} names a tensor past the last of {len(tensors)}"


def tensor_problem(tensor: schema.TensorT, buffers: list[schema.BufferT]) -> str | None:
    """What is wrong with one tensor, or None."""
    shape = [int(dim) for dim in as_list(tensor.shape)]  # of numpy's they would wrap around
    if tensor.type not in DTYPES:
        return f"has the unknown type {tensor.type}"
    if not 0 <= tensor.buffer < len(buffers):
        return f"names buffer {tensor.buffer} of {len(buffers)}"
    if any(dim < 0 for dim in shape):
        return f"has the shape {shape}"
    data = buffers[tensor.buffer].data
    wanted = bytes_of(DTYPES[tensor.type], math.prod(shape))
    if data is not None and len(data) and wanted is not None and not tensor.sparsity and len(data) != wanted:
        return f"of shape {shape} needs {wanted} bytes, and its buffer has {len(data)}"
    quantization = tensor.quantization
    scales = 0 if quantization is None else len(as_list(quantization.scale))
    if scales > 1 and not quantization.detailsType:
        axis = quantization.quantizedDimension
        if not 0 <= axis < len(shape) or shape[axis] != scales:
            return f"of shape {shape} has {scales} scales along axis {axis}"
    return None


def as_list(vector: Any) -> list[int]:
    """A flatbuffer vector (array, list or absent) as a list."""
    return [] if vector is None else list(vector)
