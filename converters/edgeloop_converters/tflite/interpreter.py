"""Opening a LiteRT interpreter on bytes that may be damaged, and feeding it samples."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import numpy as np

from edgeloop.errors import DataError, ModelError
from edgeloop_converters.tflite.flatbuffer import parse

__all__ = [
    "Array",
    "Inputs",
    "Kernels",
    "dequantize",
    "invoke",
    "open_interpreter",
    "samples_of",
    "set_sample",
    "to_tensor",
]

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]
Inputs: TypeAlias = Array | Mapping[str, Array]
Kernels: TypeAlias = Literal["default", "reference"]


def open_interpreter(model: bytes, *, kernels: Kernels = "default", threads: int = 1, preserve: bool = False) -> Any:
    """An allocated `ai_edge_litert` interpreter.

    What `parse` refuses never reaches LiteRT.

    Args:
        model: the `.tflite` file.
        kernels: "default" (optimized kernels and XNNPACK) or "reference" (the plain C++ kernels, whose
            results are the same bits on every processor).
        threads: for one call.
        preserve: keep the values of all intermediate tensors readable.

    Raises:
        ModelError: the model is damaged, or has an operator that this LiteRT lacks.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {"default": OpResolverType.AUTO, "reference": OpResolverType.BUILTIN_REF}[kernels]
    parse(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that preserving tensors is for debugging: it is
            interpreter = Interpreter(
                model_content=bytes(model),
                num_threads=threads,
                experimental_op_resolver_type=resolver,
                experimental_preserve_all_tensors=preserve,
            )
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"LiteRT can't load the model: {error}") from error
    return interpreter


def samples_of(interpreter: Any, inputs: Inputs) -> list[Array]:
    """The samples for each input tensor, in the model's order, each `(n, *shape[1:])`.

    Args:
        interpreter: allocated.
        inputs: one array for a model with one input; else arrays by the signature's or the tensors' names.

    Raises:
        DataError: an input is missing, unknown or of another shape, or the counts differ.
        ModelError: the model's batch size is fixed and isn't 1.
    """
    details = interpreter.get_input_details()
    given = inputs if isinstance(inputs, Mapping) else {details[0]["name"]: inputs}
    aliases: dict[int, set[str]] = {d["index"]: {d["name"]} for d in details}
    for signature in interpreter._get_full_signature_list().values():  # noqa: SLF001 - the public call has no indices
        for name, index in signature["inputs"].items():
            aliases.get(index, set()).add(name)
    unknown = set(given) - set().union(*aliases.values())
    if unknown or len(given) != len(details):
        names = sorted(d["name"] for d in details)
        raise DataError(f"the model's inputs are {names}, and arrays were given for {sorted(given)}")
    arrays = []
    for detail in details:
        found = [np.asarray(v) for k, v in given.items() if k in aliases[detail["index"]]]
        shape = tuple(int(d) for d in detail["shape"])
        if not found:
            raise DataError(f"no array was given for the model's input {detail['name']!r}")
        if not shape or shape[0] != 1:
            raise ModelError(f"input {detail['name']!r} has the shape {shape}: only batch size 1 can be fed")
        if found[0].shape[1:] != shape[1:] or not len(found[0]):
            wanted = ("n", *shape[1:])
            raise DataError(f"input {detail['name']!r} needs an array of shape {wanted}, not {found[0].shape}")
        arrays.append(found[0])
    if len({len(a) for a in arrays}) != 1:
        raise DataError(f"the inputs have different numbers of samples: {[len(a) for a in arrays]}")
    return arrays


def invoke(interpreter: Any) -> None:
    """Run the interpreter once on what its input tensors hold, with its variable tensors reset.

    Raises:
        ModelError: LiteRT failed at an operator.
    """
    try:
        interpreter.reset_all_variables()
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"the model failed while running: {error}") from error


def set_sample(interpreter: Any, arrays: list[Array], sample: int) -> None:
    """Copy one sample into the input tensors, quantizing real values where the tensor is quantized."""
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], to_tensor(array[sample : sample + 1], detail))


def to_tensor(values: Array, detail: Mapping[str, Any]) -> Array:
    """Real values as a tensor stores them: quantized by its scale and zero point where it has them.

    Integers that are already of the tensor's type pass unchanged.
    """
    scale, zero_point = detail["quantization"]
    dtype = np.dtype(detail["dtype"])
    if not scale or values.dtype == dtype:
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    steps = np.rint(values / np.float64(scale)) + zero_point
    quantized: Array = np.clip(steps, limits.min, limits.max).astype(dtype)
    return quantized


def dequantize(values: Array, detail: Mapping[str, Any]) -> Array:
    """A tensor's values as real numbers, float32; unquantized tensors pass unchanged."""
    parameters = detail["quantization_parameters"]
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    if not len(scales) or not np.issubdtype(values.dtype, np.integer):
        return values
    shape = [1] * values.ndim
    if len(scales) > 1:
        shape[parameters["quantized_dimension"]] = len(scales)
    real: Array = (values.astype(np.float64) - zero_points.reshape(shape)) * scales.reshape(shape)
    return real.astype(np.float32)
