"""Interpreters behind one small protocol: LiteRT first, tflite-runtime where LiteRT has no wheel, TensorFlow last."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgeloop.delegates import Placement, load_delegate
from edgeloop.errors import ConfigError, MissingExtraError, ModelError
from edgeloop.manifest import TensorSpec
from edgeloop.placement import keeps_its_memory, ops_of, outside_of_delegates

__all__ = ["BACKENDS", "Backend", "BackendName", "Kernels", "available_backends", "open_backend"]

log = logging.getLogger(__name__)

BackendName: TypeAlias = Literal["litert", "tflite-runtime", "tensorflow"]
Kernels: TypeAlias = Literal["default", "reference"]

BACKENDS: dict[BackendName, tuple[str, str]] = {
    "litert": ("ai_edge_litert", "ai_edge_litert.interpreter"),
    "tflite-runtime": ("tflite_runtime", "tflite_runtime.interpreter"),
    "tensorflow": ("tensorflow", "tensorflow"),
}
"""By preference: the package to look for, and the module that has `Interpreter`."""


_Short: TypeAlias = tuple[NDArray[Any], Callable[[], object], Callable[[], bytes]]


class Backend(Protocol):
    """One loaded model. Not safe for several threads at once."""

    @property
    def name(self) -> str:
        """Which interpreter runs it."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The model's inputs, in its own order."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The model's outputs, in its own order."""
        ...

    def invoke(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """Run once on stored values (integers of a quantized model), of exactly the inputs' shapes and dtypes.

        Nothing is checked here: a wrong shape can crash the process. The outputs are the caller's own copies.
        """
        ...

    @property
    def memory(self) -> NDArray[Any]:
        """Where `invoke_memory` finds its input: of the first input's shape, batch axis included, in C order."""
        ...

    @property
    def invoke_memory(self) -> Callable[[], object]:
        """Runs a model of one input and one output once, on what is in `memory`."""
        ...

    @property
    def read(self) -> Callable[[], bytes]:
        """Gives what `invoke_memory` has put out: the output's bytes in C order."""
        ...

    @property
    def placement(self) -> Placement:
        """Which delegate runs it, and what runs outside of one."""
        ...

    def batched(self, rows: int) -> Backend | None:
        """The same model for `rows` samples a call, in memory of its own; None where it can't be made larger."""
        ...


class InterpreterBackend:
    """The three interpreters have one and the same Python face; this is the adapter to it."""

    def __init__(
        self,
        name: str,
        load: Callable[[], Any],
        rows: int | None = None,
        *,
        delegate: str | None = None,
        fallback: str | None = None,
    ) -> None:
        """Load the model, for `rows` samples a call where that is given. Raises what the interpreter raises."""
        self.name = name
        self._load = load
        self.interpreter = interpreter = load()
        if rows is not None:
            for detail in interpreter.get_input_details():
                interpreter.resize_tensor_input(detail["index"], [rows, *detail["shape"][1:]])
        interpreter.allocate_tensors()
        inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
        names = _signature_names(interpreter)
        self.inputs = tuple(_spec(d, names) for d in inputs)
        self.outputs = tuple(_spec(d, names) for d in outputs)
        self._input_indices = [d["index"] for d in inputs]
        self._output_indices = [d["index"] for d in outputs]
        self._set, self._invoke, self._get = _calls(interpreter)
        ops = ops_of(interpreter)
        outside = outside_of_delegates(ops)
        self.placement = Placement(delegate, fallback, outside, sum(op.name != "DELEGATE" for op in ops))
        stays = delegate is None and keeps_its_memory(ops, self._input_indices)
        self.memory, self.invoke_memory, self.read = (self._in_place() if stays else None) or self._copying(inputs[0])

    def invoke(self, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """See `Backend.invoke`."""
        for index, array in zip(self._input_indices, inputs, strict=True):
            self._set(index, array)
        self._invoke()
        return [self._get(index, 0) for index in self._output_indices]

    def _in_place(self) -> _Short | None:
        """The short way on the interpreter's own memory, which must be sure to stay where it is.

        Writing there saves what `set_tensor` and `get_tensor` look up and check anew at each call: 0.8 µs of the 10 µs
        of `ad01_int8` (benchmarks/suites/runtime_overhead.py, "bare" and "in place").
        """
        if self._invoke == self.interpreter.invoke:  # which refuses to run while someone looks into its memory
            return None
        try:
            memory, output = (self.interpreter.tensor(i[0])() for i in (self._input_indices, self._output_indices))
        except ValueError:  # not allocated yet: its size comes with the data
            return None
        return memory, self._invoke, output.tobytes

    def _copying(self, detail: dict[str, Any]) -> _Short:
        memory = np.zeros(detail["shape"], dtype=detail["dtype"])

        def invoke() -> None:
            self._set(self._input_indices[0], memory)
            self._invoke()

        return memory, invoke, lambda: bytes(self._get(self._output_indices[0], 0).tobytes())

    def batched(self, rows: int) -> Backend | None:
        """See `Backend.batched`."""
        try:
            larger = InterpreterBackend(self.name, self._load, rows)
            shapes = [d["shape"] for d in larger.interpreter.get_output_details()]
        except (ValueError, RuntimeError):  # a RESHAPE with the batch written into it
            return None
        return larger if all(len(shape) and shape[0] == rows for shape in shapes) else None


def _calls(interpreter: Any) -> tuple[Callable[..., None], Callable[[], None], Callable[..., NDArray[Any]]]:
    """`set_tensor`, `invoke` and `get_tensor`, without their wrappers where what is inside has them by name.

    The wrappers are one Python call each, and a look at whether someone holds a view into the interpreter's memory,
    which nobody here does: 0.4 µs of 10 on `ad01_int8` (benchmarks/suites/runtime_overhead.py, "bare" and "unwrapped").
    """
    inner: Any = getattr(interpreter, "_interpreter", None)
    if all(hasattr(inner, name) for name in ("SetTensor", "Invoke", "GetTensor")):
        return inner.SetTensor, inner.Invoke, inner.GetTensor
    return interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor


def available_backends() -> list[BackendName]:
    """The backends whose package is installed, by preference."""
    return [name for name, (package, _) in BACKENDS.items() if importlib.util.find_spec(package) is not None]


def open_backend(
    model: bytes,
    name: BackendName | None = None,
    *,
    threads: int = 1,
    kernels: Kernels = "default",
    delegate: str | None = None,
) -> Backend:
    """Load a model.

    Args:
        model: a TFLite flatbuffer whose hash was checked: a truncated one can crash the process.
        name: the backend; None takes the first that is installed.
        threads: the interpreter's threads.
        kernels: "reference" takes the plain C kernels that give the same bits on every processor, slowly.
        delegate: "edgetpu", "gpu", or a delegate's shared library by its path; where it can't be loaded, or refuses the
            model, the model runs on the CPU, which is logged and stands in `Backend.placement`.

    Raises:
        MissingExtraError: that backend isn't installed, or none is.
        ConfigError: an unknown backend, or fewer than one thread.
        ModelError: the interpreter refuses the model (a custom op, a newer schema).
    """
    if name is not None and name not in BACKENDS:
        raise ConfigError(f"unknown backend {name!r}: use one of {', '.join(BACKENDS)}")
    if threads < 1:
        raise ConfigError(f"threads is {threads}: use 1 or more")
    found = available_backends()
    if not found or (name is not None and name not in found):
        wanted = name or "litert"
        raise MissingExtraError("legacy" if wanted == "tflite-runtime" else "convert", BACKENDS[wanted][0])
    name = name or found[0]
    module = importlib.import_module(BACKENDS[name][1])
    if name == "tensorflow":  # `tensorflow.lite` can't be imported by that name: it is an attribute
        module = module.lite
    options: dict[str, Any] = {}
    if kernels == "reference":
        resolver = getattr(module, "OpResolverType", None) or module.experimental.OpResolverType
        options["experimental_op_resolver_type"] = resolver.BUILTIN_REF

    def load(delegates: list[Any] | None = None) -> Any:
        return module.Interpreter(model_content=model, num_threads=threads, experimental_delegates=delegates, **options)

    fallback = None
    if delegate is not None:
        try:
            return InterpreterBackend(name, lambda: load([load_delegate(module, delegate)]), delegate=delegate)
        except (OSError, ValueError, RuntimeError) as error:
            fallback = " ".join(str(error).split()) or f"{delegate}: it can't be made"
            log.warning("delegate %s: %s: the model runs on the CPU", delegate, fallback)
    try:
        return InterpreterBackend(name, load, fallback=fallback)
    except (ValueError, RuntimeError) as error:
        raise ModelError(f"{name} refuses the model: {' '.join(str(error).split())}") from error


def _signature_names(interpreter: Any) -> dict[int, str]:
    """The names that a model's only signature gives its tensors, by index: tensors themselves carry the converter's."""
    keys = list(interpreter.get_signature_list())
    if len(keys) != 1:
        return {}
    runner = interpreter.get_signature_runner(keys[0])
    details = [*runner.get_input_details().items(), *runner.get_output_details().items()]
    return {detail["index"]: name for name, detail in details}


def _spec(detail: dict[str, Any], names: dict[int, str]) -> TensorSpec:
    shape = detail.get("shape_signature", detail["shape"])
    scale, zero_point = detail["quantization"]
    quantized = scale != 0
    return TensorSpec(
        name=names.get(detail["index"], detail["name"]),
        shape=tuple(int(n) for n in shape),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if quantized else None,
        zero_point=int(zero_point) if quantized else None,
    )
