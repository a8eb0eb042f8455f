"""Targets: where an artifact will run, what that takes, and what of it is checked before time is spent."""

from __future__ import annotations

from dataclasses import dataclass

from edgeloop.errors import ConfigError
from edgeloop_converters.evaluate import Evaluation
from edgeloop_converters.recipes import Recipe
from edgeloop_converters.recipes.steps import CompileScheme
from edgeloop_converters.tflite import Finding, ModelFacts, describe

__all__ = ["TARGETS", "Target", "check_file", "check_ops", "find_target", "suits"]

MIB = 1 << 20

# "TensorFlow models on the Edge TPU" (coral.ai/docs/edgetpu/models-intro), table 1: what its compiler maps.
EDGETPU_OPS = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS", "FULLY_CONNECTED",
    "L2_NORMALIZATION", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MUL", "PACK", "PAD", "PRELU",
    "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "RSQRT", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SQUARED_DIFFERENCE", "SQUEEZE",
    "STRIDED_SLICE", "SUB", "SUM", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "UNIDIRECTIONAL_SEQUENCE_LSTM",
})  # fmt: skip

# tflite-micro, micro/python/interpreter/src/python_ops_resolver.cc: the operators of its Python interpreter.
MICRO_OPS = frozenset({
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "ASSIGN_VARIABLE", "AVERAGE_POOL_2D", "BATCH_MATMUL",
    "BATCH_TO_SPACE_ND", "BROADCAST_ARGS", "BROADCAST_TO", "CALL_ONCE", "CAST", "CEIL", "CONCATENATION", "CONV_2D",
    "COS", "CUMSUM", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL", "EXP", "EXPAND_DIMS",
    "FILL", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "FULLY_CONNECTED", "GATHER", "GATHER_ND", "GREATER", "GREATER_EQUAL",
    "HARD_SWISH", "IF", "L2_NORMALIZATION", "L2_POOL_2D", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND",
    "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD",
    "MUL", "NEG", "NOT_EQUAL", "PACK", "PAD", "PADV2", "PRELU", "QUANTIZE", "READ_VARIABLE", "REDUCE_MAX", "RELU",
    "RELU6", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "ROUND", "RSQRT", "SELECT_V2", "SHAPE", "SIN",
    "SLICE", "SOFTMAX", "SPACE_TO_BATCH_ND", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE",
    "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "SVDF", "TANH", "TRANSPOSE", "TRANSPOSE_CONV",
    "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNPACK", "VAR_HANDLE", "WHILE", "ZEROS_LIKE",
})  # fmt: skip

INTEGER: tuple[CompileScheme, ...] = ("int8", "as_is")


@dataclass(frozen=True)
class Target:
    """One kind of device.

    Args:
        name: as in `--target`.
        what: in words.
        memory_bytes: what a model and its activations may take of the device's memory.
        threads: its processor's cores, and so an interpreter's threads at most.
        schemes: how a model may be compiled for it; None is any.
        ops: the operators that it runs; None is all of LiteRT's.
        checked: what is checked of an artifact, in words.
    """

    name: str
    what: str
    memory_bytes: int
    threads: int
    schemes: tuple[CompileScheme, ...] | None = None
    ops: frozenset[str] | None = None
    checked: str = "custom operators, XNNPACK's partitions, memory"


TARGETS: dict[str, Target] = {
    t.name: t
    for t in (
        Target("rpi-zero2w", "Raspberry Pi Zero 2 W, 4 × Cortex-A53, 512 MiB", 256 * MIB, 4),
        Target("rpi3", "Raspberry Pi 3, 4 × Cortex-A53, 1 GiB", 512 * MIB, 4),
        Target("rpi4", "Raspberry Pi 4, 4 × Cortex-A72, 1 GiB and up", 512 * MIB, 4),
        Target("rpi5", "Raspberry Pi 5, 4 × Cortex-A76, 2 GiB and up", 1024 * MIB, 4),
        Target("x86", "this kind of machine: x86-64 with AVX2", 4096 * MIB, 4),
        Target(
            "edgetpu", "Coral Edge TPU, 8 MiB on chip", 8 * MIB, 1, INTEGER, EDGETPU_OPS,
            "its operator list, full-integer form, static shapes; not its compiler's result",
        ),
        Target(
            "cortex-m", "a microcontroller with tflite-micro", 2 * MIB, 1, (*INTEGER, "int16x8"), MICRO_OPS,
            "its operator list, and a run in tflite-micro's interpreter with the arena that it took (extra `micro`)",
        ),
    )
}  # fmt: skip


def find_target(name: str) -> Target:
    """A target by its name. Raises `ConfigError`, which lists them."""
    if name not in TARGETS:
        raise ConfigError(f"unknown target {name!r}: use one of {', '.join(TARGETS)}")
    return TARGETS[name]


def suits(target: Target | None, recipe: Recipe) -> bool:
    """Whether the target runs what a recipe compiles, the layers with a scheme of their own included."""
    schemes = {recipe.compile.scheme, *recipe.compile.overrides.values()}
    return target is None or target.schemes is None or schemes <= set(target.schemes)


def check_ops(target: Target, model: bytes) -> tuple[Finding, ...]:
    """Whether a target has the operators of a model, which may still be float: before time is spent on it.

    Raises:
        ModelError: the model is damaged.
    """
    facts = describe(model)
    known = set(facts.op_counts) - set(facts.custom_ops) if target.ops is None else target.ops
    missing = tuple(sorted(set(facts.op_counts) - known))
    found = []
    if missing:
        found.append(
            Finding(
                "unsupported_ops",
                "error",
                f"{target.name} has no {', '.join(missing)}",
                "its operator list is fixed" if target.ops is not None else "these are custom operators",
                "replace these layers in the model, or choose another target",
                missing,
            )
        )
    if target.name == "edgetpu" and facts.dynamic:
        found.append(
            Finding(
                "dynamic_shapes", "error", "edgetpu takes static shapes only", "an input's shape is left open",
                "fix the input's shape in the model", facts.dynamic,
            )
        )  # fmt: skip
    return tuple(found)


def check_file(target: Target, model: bytes, evaluation: Evaluation) -> tuple[Finding, ...]:
    """The same of the finished file, and its form and memory."""
    facts = describe(model)
    found = [*check_ops(target, model)]
    if target.schemes is not None and (floats := float_tensors(facts)):
        found.append(
            Finding(
                "not_integer",
                "error",
                f"{target.name} takes integer-only models: {len(floats)} tensors are float",
                "the scheme leaves them so",
                "recipe 'int8'",
                floats[:8],
            )
        )
    needed = evaluation.size_bytes + evaluation.peak_activation_bytes
    if needed > target.memory_bytes:
        found.append(
            Finding(
                "memory",
                "error",
                f"the model and its activations take {needed / MIB:.1f} MiB, {target.name} has "
                f"{target.memory_bytes / MIB:.0f} MiB for them",
                "weights and the largest activations that live at once",
                "prune channels, or a smaller input",
            )
        )
    return tuple(found)


def float_tensors(facts: ModelFacts) -> tuple[str, ...]:
    """The names of float tensors that operators read or write."""
    used = {i for op in facts.ops for i in (*op.inputs, *op.outputs) if i >= 0}
    return tuple(facts.tensors[i].name for i in sorted(used) if "float" in facts.tensors[i].dtype)
