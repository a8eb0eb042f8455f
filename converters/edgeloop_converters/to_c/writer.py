"""The layout of the two files that are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgeloop_converters.to_c.graph import Graph, Op, Tensor
from edgeloop_converters.to_c.ops import KINDS, Code, Place
from edgeloop_converters.to_c.planner import Plan

__all__ = ["write_header", "write_source"]

LONGEST_NAME = 60
C_TYPES = {"int8": "int8_t", "float32": "float"}


def write_header(graph: Graph, plan: Plan, name: str, sha256: str) -> str:
    """`NAME.h`."""
    upper = name.upper()
    lines = [
        "/* Compiled by edgeloop from the TFLite model of SHA-256",
        f"   {sha256}.",
        f"   Not thread-safe: there is one arena. An input's bytes are used up by {name}_invoke. */",
        f"#ifndef {upper}_H",
        f"#define {upper}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        f'#define {upper}_MODEL_SHA256 "{sha256}"',
        f"#define {upper}_MODEL_ID 0x{sha256[:8]}u /* the first four bytes of it */",
        f"#define {upper}_ARENA_BYTES {plan.arena_bytes}",
        "",
    ]
    for role, label, tensor in ends(graph):
        lines += [f"/* {role} {comment(tensor)} */", *constants(f"{upper}_{label.upper()}", tensor), ""]
    lines += [
        "/* All RAM that the model takes beside the stack: inputs, activations and outputs. */",
        f"extern const uint32_t {name}_arena_bytes;",
        f"extern const char {name}_model_sha256[65];",
        "",
        "/* Where the inputs are to be written, and where the outputs can be read until the next input is written. */",
        *(f"{pointer_type(role, tensor)}{name}_{label}(void);" for role, label, tensor in ends(graph)),
        "",
        "/* Run the model once on what its inputs hold. */",
        f"void {name}_invoke(void);",
        "",
        "/* Copy in, run, copy out. Returns 0, or -1 where a pointer is null. */",
        f"int {name}_run({parameters(graph)});",
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
    ]
    return "\n".join(lines) + "\n"


def write_source(graph: Graph, plan: Plan, name: str, sha256: str) -> str:
    """`NAME.c`."""
    place = Place(plan.offsets)
    codes = [KINDS[op.kind].emit(op, place) for op in graph.ops]
    kernels = dict.fromkeys(kernel for code in codes for kernel in code.kernels)
    parts = [
        preamble(graph, name, sha256),
        *kernels,
        *data(graph.ops, codes),
        arena(graph, plan),
        invoke(graph, plan, name, codes),
    ]
    parts.append(access(graph, name, place))
    return "\n".join(parts)


def preamble(graph: Graph, name: str, sha256: str) -> str:
    """The includes, and what is asked of the compiler."""
    upper = name.upper()
    return f"""\
/* Compiled by edgeloop from the TFLite model of SHA-256
   {sha256}:
   {len(graph.ops)} operators, the same outputs as TFLite's reference kernels, bit for bit. */
#include "{name}.h"

#include <string.h>

#if {upper}_MODEL_ID != 0x{sha256[:8]}u
#error "{name}.h was written for another model than {name}.c: compile the model again"
#endif

/* C leaves it to the compiler how a negative number is shifted to the right; it must keep its sign here. */
typedef char right_shift_keeps_the_sign[(-1 >> 1) == -1 ? 1 : -1];
"""


def data(ops: Sequence[Op], codes: Sequence[Code]) -> Iterable[str]:
    """The constants of each operator."""
    for op, code in zip(ops, codes, strict=True):
        if code.data:
            yield f"/* {op}: {comment(op.output)} */\n{code.data}"


def arena(graph: Graph, plan: Plan) -> str:
    """The arena; aligned for floats where there are any."""
    if all(t.dtype == "int8" for t in (*graph.inputs, *graph.outputs)):
        return f"static int8_t arena[{plan.arena_bytes}];\n"
    members = f"    float aligned;\n    int8_t bytes[{plan.arena_bytes}];\n"
    return f"static union {{\n{members}}} memory;\n#define arena memory.bytes\n"


def invoke(graph: Graph, plan: Plan, name: str, codes: Sequence[Code]) -> str:
    """The function that runs the operators one after another."""
    lines = [f"void {name}_invoke(void)", "{"]
    for op, code in zip(graph.ops, codes, strict=True):
        bytes_used = (
            f"arena {plan.offsets[op.output.index]}..{plan.offsets[op.output.index] + op.output.size_bytes - 1}"
        )
        lines += [f"    /* {op}: {comment(op.output)}, {bytes_used} */", f"    {code.call}"]
    return "\n".join([*lines, "}"]) + "\n"


def access(graph: Graph, name: str, place: Place) -> str:
    """What the caller sees, beside `invoke`."""
    upper = name.upper()
    found = list(ends(graph))
    head = f"const uint32_t {name}_arena_bytes = {upper}_ARENA_BYTES;\n"
    parts = [f"{head}const char {name}_model_sha256[65] = {upper}_MODEL_SHA256;\n"]
    for role, label, tensor in found:
        head = f"{pointer_type(role, tensor)}{name}_{label}(void)"
        parts.append(f"{head}\n{{\n    return {place(tensor)};\n}}\n")
    absent = " || ".join(f"!{label}" for _, label, _ in found)
    lines = [f"int {name}_run({parameters(graph)})", "{", f"    if ({absent}) {{", "        return -1;", "    }"]
    for role, label, tensor in found:
        if role == "input":
            lines.append(f"    memmove({place(tensor)}, {label}, {upper}_{label.upper()}_BYTES);")
    lines.append(f"    {name}_invoke();")
    for role, label, tensor in found:
        if role == "output":
            lines.append(f"    memmove({label}, {place(tensor)}, {upper}_{label.upper()}_BYTES);")
    return "\n".join([*parts, *lines, "    return 0;", "}"]) + "\n"


def ends(graph: Graph) -> Iterable[tuple[str, str, Tensor]]:
    """The model's inputs and outputs: role, name in C, tensor. Numbered where there are several."""
    for role, tensors in (("input", graph.inputs), ("output", graph.outputs)):
        for number, tensor in enumerate(tensors):
            yield role, role if len(tensors) == 1 else f"{role}{number}", tensor


def constants(prefix: str, tensor: Tensor) -> list[str]:
    """What a caller must know of an input or output."""
    lines = [f"#define {prefix}_BYTES {tensor.size_bytes}", f"#define {prefix}_COUNT {tensor.elements}"]
    if tensor.dtype == "int8":
        lines += [f"#define {prefix}_SCALE {tensor.scale!r}f", f"#define {prefix}_ZERO_POINT ({tensor.zero_point})"]
    return lines


def pointer_type(role: str, tensor: Tensor) -> str:
    """The type of a pointer to an input or output."""
    return f"{'const ' if role == 'output' else ''}{C_TYPES[tensor.dtype]} *"


def parameters(graph: Graph) -> str:
    """The parameters of `run`."""
    return ", ".join(
        f"{'const ' if role == 'input' else ''}{C_TYPES[tensor.dtype]} *{label}" for role, label, tensor in ends(graph)
    )


def comment(tensor: Tensor) -> str:
    """A tensor's name and shape, in a form that can't end a comment; TensorFlow's names can be very long."""
    name, _, shape = str(tensor).rpartition(" ")
    name = "".join(c if c.isascii() and (c.isalnum() or c in " _-.:;/()") else "_" for c in name).replace("/", ".")
    return f"{name if len(name) <= LONGEST_NAME else '...' + name[-LONGEST_NAME:]} {shape}"
