"""What every kind of operator says of itself, and the C that all of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from edgeloop_converters.to_c.graph import Array, Op, Tensor
from edgeloop_converters.to_c.multiplier import LIMITS
from edgeloop_converters.to_c.overlap import Leads

__all__ = [
    "CLAMP",
    "LARGEST_DIMENSION",
    "SCALE_BY",
    "Code",
    "Kind",
    "Place",
    "activation_problems",
    "c_array",
    "c_struct",
    "constant",
    "fused_problems",
    "int8_problems",
    "no_leads",
]

LARGEST_DIMENSION = 32767  # shapes are int16_t in the generated tables
ACTIVATIONS = {4: "TANH", 5: "SIGN_BIT"}
NUMBERS_A_LINE = 20


class Code(NamedTuple):
    """The C of one operator.

    Attributes:
        kernels: functions that it calls, those that they call first; each stands once in the file.
        data: its constants.
        call: the statement that runs it.
    """

    kernels: tuple[str, ...]
    data: str
    call: str


@dataclass(frozen=True)
class Place:
    """Where the tensors lie.

    Attributes:
        offsets: in the arena, by tensor index.
    """

    offsets: Mapping[int, int]

    def __call__(self, tensor: Tensor) -> str:
        """A pointer to a tensor, as a C expression."""
        offset = self.offsets[tensor.index]
        return f"(float *)(void *)(arena + {offset})" if tensor.dtype == "float32" else f"arena + {offset}"

    def backwards(self, op: Op, leads: Leads) -> bool:
        """Whether an operator must write its output from the last element to the first."""
        source, target = self.offsets[op.input(0).index], self.offsets[op.output.index]
        apart = target >= source + op.input(0).size_bytes
        return not apart and source < target + min(op.output.size_bytes, leads.forwards)


class Kind(NamedTuple):
    """One kind of operator.

    Attributes:
        problems: why an operator can't be compiled, one phrase each.
        leads: for inputs that the output may lie over: the op's leads by tensor index.
        emit: writes the operator with its tensors in their places.
    """

    problems: Callable[[Op], Iterable[str]]
    leads: Callable[[Op], Mapping[int, Leads]]
    emit: Callable[[Op, Place], Code]


def no_leads(_: Op) -> Mapping[int, Leads]:
    """The output lies apart from all inputs."""
    return {}


def int8_problems(op: Op, *tensors: Tensor | None) -> Iterable[str]:
    """Why these tensors can't be int8 activations with one scale."""
    for tensor in tensors or (*op.inputs, *op.outputs):
        if tensor is None:
            yield "lacks an input"
        elif tensor.dtype != "int8":
            yield f"tensor {tensor.index} ({tensor}) is {tensor.dtype}, not int8"
        elif len(tensor.facts.scales) != 1 or not 0 < tensor.scale < float("inf"):
            yield f"tensor {tensor.index} ({tensor}) has {len(tensor.facts.scales)} scales where one is needed"
        elif not -128 <= tensor.zero_point <= 127:
            yield f"tensor {tensor.index} ({tensor}) has the zero point {tensor.zero_point}, outside int8"
        elif any(dimension > LARGEST_DIMENSION for dimension in tensor.shape):
            yield f"tensor {tensor.index} ({tensor}) has a dimension above {LARGEST_DIMENSION}"


def activation_problems(op: Op) -> Iterable[str]:
    """Why its inputs and outputs can't be int8 activations."""
    yield from int8_problems(op)


def fused_problems(activation: int) -> Iterable[str]:
    """Why a fused activation isn't compiled."""
    if activation not in LIMITS:
        yield f"has the fused activation {ACTIVATIONS.get(activation, activation)}"


def constant(op: Op, position: int, dtype: str) -> tuple[Array | None, list[str]]:
    """A constant input's values, and why it can't be used."""
    tensor = op.optional(position)
    if tensor is None:
        return None, []
    if tensor.sparse:
        return None, [f"tensor {tensor.index} ({tensor}) is stored as a sparse tensor"]
    if tensor.dtype != dtype:
        return None, [f"tensor {tensor.index} ({tensor}) is {tensor.dtype}, not {dtype}"]
    if tensor.values is None:
        return None, [f"tensor {tensor.index} ({tensor}) isn't constant"]
    return tensor.values, []


def c_array(ctype: str, name: str, values: Any) -> str:
    """A constant array in C."""
    numbers = [str(int(v)) if v > -(2**31) else "INT32_MIN" for v in np.asarray(values).reshape(-1)]
    lines = (", ".join(numbers[i : i + NUMBERS_A_LINE]) for i in range(0, len(numbers), NUMBERS_A_LINE))
    body = ",\n    ".join(lines)
    return f"static const {ctype} {name}[{len(numbers)}] = {{\n    {body}\n}};\n"


def c_struct(kind: str, name: str, fields: Mapping[str, Any]) -> str:
    """A constant struct in C, its fields by name."""
    lines = "".join(f"    .{field} = {value},\n" for field, value in fields.items())
    return f"static const struct {kind} {name} = {{\n{lines}}};\n"


CLAMP = """\
static int8_t clamp(int32_t value, int32_t low, int32_t high)
{
    return (int8_t)(value < low ? low : value > high ? high : value);
}
"""

SCALE_BY = """\
/* value * multiplier * 2^(shift - 31), rounded twice, as TFLite's MultiplyByQuantizedMultiplier does. */
static int32_t scale_by(int32_t value, int32_t multiplier, int shift)
{
    const int left = shift > 0 ? shift : 0;
    const int right = shift > 0 ? 0 : -shift;
    const int32_t shifted = (int32_t)((uint32_t)value << left);
    const int32_t high = (int32_t)(((int64_t)shifted * multiplier + (INT64_C(1) << 30)) >> 31);
    const int32_t mask = (int32_t)((UINT32_C(1) << right) - 1u);
    const int32_t half = (mask >> 1) + (high < 0 ? 1 : 0);
    return (high >> right) + ((high & mask) > half ? 1 : 0);
}
"""
