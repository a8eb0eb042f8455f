"""What is in a `.tflite` file: operators, tensors, weights, operations to compute, state, signatures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite.flatbuffer import (
    DTYPES,
    as_list,
    builtin_code,
    bytes_of,
    operator_name,
    parse,
    text,
)

__all__ = ["ModelFacts", "OpFacts", "SignatureFacts", "TensorFacts", "describe"]

STATEFUL = frozenset({"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"})
QUANTIZED_BIAS = "int32"


class TensorFacts(msgspec.Struct, frozen=True):
    """One tensor.

    Attributes:
        index: in its subgraph.
        name: as in the file.
        shape: the shape that is allocated when nothing is resized.
        shape_signature: the same with −1 for each dimension that may be resized.
        dtype: numpy's name, or `int4`, `string`, `resource`…
        scales: quantization scales: none, one, or one for each channel.
        zero_points: as many.
        channel_axis: the axis that the scales lie along; None when there is at most one.
        constant: whether the file holds its values.
        variable: whether it keeps its values from call to call.
        bytes: as stored; None for strings and handles.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    channel_axis: int | None
    constant: bool
    variable: bool
    bytes: int | None


class OpFacts(msgspec.Struct, frozen=True):
    """One operator.

    Attributes:
        index: in its subgraph; also the order of execution.
        name: the schema's name, or that of a custom operator.
        custom: whether the runtime needs a kernel registered for it.
        inputs: tensor indices, −1 for an optional input that is absent.
        outputs: tensor indices.
        macs: multiply-accumulates of one call for convolutions and dense layers, at the allocated shape; else
            0.
    """

    index: int
    name: str
    custom: bool
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    macs: int


class SignatureFacts(msgspec.Struct, frozen=True):
    """A signature: a named entry into a subgraph, with tensor indices by names."""

    key: str
    subgraph: int
    inputs: dict[str, int]
    outputs: dict[str, int]


class ModelFacts(msgspec.Struct, frozen=True):
    """A `.tflite` file, described. Operators and tensors are those of the main subgraph.

    Attributes:
        size_bytes: of the file.
        description: the converter's own words.
        ops: in the order of execution.
        op_counts: operators by name, over all subgraphs.
        tensors: by index.
        inputs: tensor indices.
        outputs: tensor indices.
        parameters: numbers that training set: weights and biases, over all subgraphs, shared ones counted
            once.
        weight_bytes: bytes of these, by dtype.
        macs: the sum over `ops`; the FLOPs are twice as many.
        custom_ops: names of operators that the runtime doesn't bring along.
        stateful_ops: names of operators that read or write variables.
        variables: names of tensors that keep their values between calls.
        signatures: as in the file.
        dynamic: names of inputs whose shape may be changed.
        peak_activation_bytes: the largest sum of activations that are alive at the same time; an arena can't
            be smaller, and a good plan of it is seldom more than a tenth larger.
        deprecated_codes: operator codes that stand in the deprecated field only (files from before TF 2.4);
            tools that don't look there see other operators.
        subgraphs: how many; more than one means control flow.
    """

    size_bytes: int
    description: str
    ops: tuple[OpFacts, ...]
    op_counts: dict[str, int]
    tensors: tuple[TensorFacts, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    parameters: int
    weight_bytes: dict[str, int]
    macs: int
    custom_ops: tuple[str, ...]
    stateful_ops: tuple[str, ...]
    variables: tuple[str, ...]
    signatures: tuple[SignatureFacts, ...]
    dynamic: tuple[str, ...]
    peak_activation_bytes: int
    deprecated_codes: int
    subgraphs: int

    def name(self, tensor: int) -> str:
        """The name of a tensor by its index."""
        return self.tensors[tensor].name


def describe(model: bytes) -> ModelFacts:
    """Describe a `.tflite` file without running it.

    Raises:
        ModelError: it is damaged.
    """
    tree = parse(model)
    main = tree.subgraphs[0]
    codes = tree.operatorCodes or []
    tensors = tuple(tensor_facts(i, t, tree.buffers) for i, t in enumerate(main.tensors or ()))
    ops = tuple(op_facts(i, op, codes, tensors) for i, op in enumerate(main.operators or ()))
    names = [operator_name(codes[op.opcodeIndex]) for s in tree.subgraphs for op in s.operators or ()]
    weights = trained_tensors(tree)
    by_dtype: dict[str, int] = defaultdict(int)
    for tensor in weights:
        by_dtype[tensor.dtype] += tensor.bytes or 0
    inputs, outputs = as_list(main.inputs), as_list(main.outputs)
    return ModelFacts(
        size_bytes=len(model),
        description=text(tree.description),
        ops=ops,
        op_counts=dict(Counter(names).most_common()),
        tensors=tensors,
        inputs=tuple(map(int, inputs)),
        outputs=tuple(map(int, outputs)),
        parameters=sum(math.prod(t.shape) for t in weights),
        weight_bytes=dict(sorted(by_dtype.items())),
        macs=sum(op.macs for op in ops),
        custom_ops=tuple(sorted({operator_name(c) for c in codes if builtin_code(c) == schema.BuiltinOperator.CUSTOM})),
        stateful_ops=tuple(sorted(STATEFUL.intersection(names))),
        variables=tuple(t.name for t in tensors if t.variable),
        signatures=tuple(signature_facts(s) for s in tree.signatureDefs or ()),
        dynamic=tuple(tensors[i].name for i in inputs if -1 in tensors[i].shape_signature),
        peak_activation_bytes=peak_activation_bytes(ops, tensors, inputs, outputs),
        deprecated_codes=sum(builtin_code(c) != c.builtinCode for c in codes),
        subgraphs=len(tree.subgraphs),
    )


def tensor_facts(index: int, tensor: schema.TensorT, buffers: Sequence[schema.BufferT]) -> TensorFacts:
    """Describe one tensor."""
    shape = tuple(map(int, as_list(tensor.shape)))
    dtype = DTYPES[tensor.type]
    quantization = tensor.quantization
    scales = () if quantization is None else tuple(map(float, as_list(quantization.scale)))
    zero_points = () if quantization is None else tuple(map(int, as_list(quantization.zeroPoint)))
    data = buffers[tensor.buffer].data
    return TensorFacts(
        index=index,
        name=text(tensor.name),
        shape=shape,
        shape_signature=tuple(map(int, as_list(tensor.shapeSignature))) or shape,
        dtype=dtype,
        scales=scales,
        zero_points=zero_points,
        channel_axis=int(quantization.quantizedDimension) if len(scales) > 1 else None,
        constant=data is not None and len(data) > 0,
        variable=bool(tensor.isVariable),
        bytes=bytes_of(dtype, math.prod(shape)),
    )


def op_facts(
    index: int, op: schema.OperatorT, codes: Sequence[schema.OperatorCodeT], tensors: Sequence[TensorFacts]
) -> OpFacts:
    """Describe one operator."""
    code = codes[op.opcodeIndex]
    name = operator_name(code)
    inputs, outputs = tuple(map(int, as_list(op.inputs))), tuple(map(int, as_list(op.outputs)))
    shapes_in = [tensors[i].shape if i >= 0 else () for i in inputs]
    return OpFacts(
        index=index,
        name=name,
        custom=builtin_code(code) == schema.BuiltinOperator.CUSTOM,
        inputs=inputs,
        outputs=outputs,
        macs=macs(name, shapes_in, [tensors[i].shape for i in outputs]),
    )


def signature_facts(signature: schema.SignatureDefT) -> SignatureFacts:
    """Describe one signature."""
    return SignatureFacts(
        key=text(signature.signatureKey),
        subgraph=int(signature.subgraphIndex),
        inputs={text(t.name): int(t.tensorIndex) for t in signature.inputs or ()},
        outputs={text(t.name): int(t.tensorIndex) for t in signature.outputs or ()},
    )


def macs(name: str, inputs: Sequence[tuple[int, ...]], outputs: Sequence[tuple[int, ...]]) -> int:
    """Multiply-accumulates of one operator (the schema's layouts: NHWC, OHWI, depthwise 1HWO)."""
    if not outputs or len(inputs) < 2:
        return 0
    filters, made = inputs[1], math.prod(outputs[0])
    if name == "CONV_2D" and len(filters) == 4:
        return made * math.prod(filters[1:])
    if name == "DEPTHWISE_CONV_2D" and len(filters) == 4:
        return made * filters[1] * filters[2]
    if name == "FULLY_CONNECTED" and len(filters) == 2:
        return made * filters[1]
    if name == "TRANSPOSE_CONV" and len(inputs) > 2 and len(filters) == 4:
        return math.prod(inputs[2]) * math.prod(filters[:3])
    if name == "BATCH_MATMUL" and inputs[0]:
        return made * (math.prod(inputs[0]) * math.prod(outputs[0][-1:]) // max(made, 1))
    return 0


def trained_tensors(tree: schema.ModelT) -> list[TensorFacts]:
    """Weights and biases: constant operands that are real-valued or quantized, each buffer once.

    Unquantized integers are shapes, axes and indices, which training doesn't set.
    """
    found: dict[int, TensorFacts] = {}
    for subgraph in tree.subgraphs:
        tensors = subgraph.tensors or []
        used = {i for op in subgraph.operators or () for i in as_list(op.inputs) if i >= 0}
        for index in sorted(used):
            facts = tensor_facts(index, tensors[index], tree.buffers)
            if facts.constant and (facts.scales or "float" in facts.dtype):
                found.setdefault(tensors[index].buffer, facts)
    return list(found.values())


def peak_activation_bytes(
    ops: Iterable[OpFacts], tensors: Sequence[TensorFacts], inputs: Iterable[int], outputs: Iterable[int]
) -> int:
    """The largest sum of bytes of activations that are alive during the same operator."""
    ops = list(ops)
    born: dict[int, int] = dict.fromkeys(inputs, 0)
    dies: dict[int, int] = dict.fromkeys(born, 0)
    for step, op in enumerate(ops):
        for tensor in op.outputs:
            born.setdefault(tensor, step)
        dies.update({t: step for t in (*op.inputs, *op.outputs) if t >= 0})
    dies.update(dict.fromkeys(outputs, len(ops) - 1))
    change: Mapping[int, int] = alive_changes(born, dies, tensors)
    peak = now = 0
    for step in range(len(ops)):
        now += change.get(step, 0)
        peak = max(peak, now)
    return peak


def alive_changes(born: Mapping[int, int], dies: Mapping[int, int], tensors: Sequence[TensorFacts]) -> dict[int, int]:
    """By how many bytes the activations that are alive grow at each step."""
    change: dict[int, int] = defaultdict(int)
    for tensor, first in born.items():
        size = 0 if tensors[tensor].constant else tensors[tensor].bytes or 0
        change[first] += size
        change[dies[tensor] + 1] -= size
    return change
