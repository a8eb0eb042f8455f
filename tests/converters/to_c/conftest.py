"""Compiling C with the compilers at hand, running it, and asking TFLite's reference kernels for the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeloop_converters.tflite import parse, serialize
from edgeloop_converters.tflite.interpreter import open_interpreter
from edgeloop_converters.to_c import compile_to_c

Array = np.ndarray[Any, np.dtype[Any]]

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Werror", "-pedantic")
CONVERTED = ("residual", "mobile")
TYPES = {"int8": 9, "int16": 7, "int32": 2, "float32": 0}
EDGES = (-128, 127, -127, 0, -1)


@dataclass(frozen=True)
class Program:
    """A compiled model: inputs on its standard input, outputs on its standard output."""

    path: Path
    dtypes: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __call__(self, inputs: list[Array]) -> list[Array]:
        """Run it over samples, `(n, *shape)` for each of the model's inputs; the same for its outputs."""
        given = b"".join(a[i].tobytes() for i in range(len(inputs[0])) for a in inputs)
        done = subprocess.run([str(self.path)], input=given, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return split(done.stdout, self.dtypes, self.shapes)


class Network:
    """A model in the making: tensors and operators are appended."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version = 3
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators, self.graph.inputs, self.graph.outputs = [], [], [], []

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str = "int8",
        scales: Any = None,
        zero: int = 0,
        values: Any = None,
        axis: int = 0,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = f"t{len(self.graph.tensors)}".encode(), list(shape), TYPES[dtype]
        tensor.buffer = 0
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.asarray(values, dtype).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer = len(self.model.buffers) - 1
        if scales is not None:
            scales = np.atleast_1d(np.asarray(scales, np.float32))
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = scales, np.full(len(scales), zero, np.int64)
            tensor.quantization.quantizedDimension = axis
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def activation(self, shape: tuple[int, ...], like: int | None = None, scale: float | None = None) -> int:
        """An int8 tensor of random quantization, or of that of another one."""
        if like is not None:
            quantization = self.graph.tensors[like].quantization
            return self.tensor(shape, scales=quantization.scale, zero=int(quantization.zeroPoint[0]))
        zero = int(self.rng.choice([-128, 127, 0, self.rng.integers(-128, 128)]))
        return self.tensor(shape, scales=self.scale() if scale is None else scale, zero=zero)

    def scale(self) -> float:
        return float(np.exp(self.rng.uniform(np.log(1e-3), np.log(0.5))))

    def scale_of(self, tensor: int) -> float:
        return float(self.graph.tensors[tensor].quantization.scale[0])

    def shape(self, tensor: int) -> tuple[int, ...]:
        return tuple(self.graph.tensors[tensor].shape)

    def op(self, kind: str, inputs: list[int], output: int, options: Any = None) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__[:-1])
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output

    def finish(self) -> bytes:
        return serialize(self.model)


def split(raw: bytes, dtypes: tuple[str, ...], shapes: tuple[tuple[int, ...], ...]) -> list[Array]:
    """Outputs that were written sample by sample."""
    row = np.dtype([(f"o{i}", d, s) for i, (d, s) in enumerate(zip(dtypes, shapes, strict=True))])
    table = np.frombuffer(raw, row)
    return [table[name] for name in table.dtype.names or ()]


def driver(name: str, tree: Any) -> str:
    """A main program that feeds the model from standard input."""
    graph = tree.subgraphs[0]
    lines, labels = [], {"input": [], "output": []}
    for role, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for number, index in enumerate(indices):
            label = role if len(indices) == 1 else f"{role}{number}"
            labels[role].append(label)
            ctype = {0: "float", 9: "int8_t"}[graph.tensors[index].type]
            lines.append(f"    static {ctype} {label}[{name.upper()}_{label.upper()}_COUNT];")
    reads = " && ".join(f"fread({label}, sizeof {label}, 1, stdin) == 1" for label in labels["input"])
    writes = "".join(f"        fwrite({label}, sizeof {label}, 1, stdout);\n" for label in labels["output"])
    call = ", ".join([*labels["input"], *labels["output"]])
    body = "\n".join(lines)
    return (
        f'#include "{name}.h"\n#include <stdio.h>\n\nint main(void)\n{{\n{body}\n'
        f"    while ({reads}) {{\n        if ({name}_run({call}) != 0) {{\n            return 1;\n        }}\n"
        f"{writes}    }}\n    return 0;\n}}\n"
    )


@pytest.fixture(scope="session")
def network() -> type[Network]:
    """Makes models of single operators."""
    return Network


@pytest.fixture(scope="session")
def gcc() -> str:
    found = shutil.which("gcc")
    if found is None:
        pytest.skip("no gcc on this machine (Debian: apt install gcc)")
    return found


@pytest.fixture
def build(gcc: str, tmp_path: Path) -> Callable[..., Program]:
    """Compiles a model to C and that to a program, all warnings errors."""

    def build(model: bytes, name: str = "m", flags: tuple[str, ...] = ("-O2",)) -> Program:
        folder = tmp_path / f"{name}{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        compiled, tree = compile_to_c(model, name), parse(model)
        (folder / f"{name}.c").write_text(compiled.source)
        (folder / f"{name}.h").write_text(compiled.header)
        (folder / "driver.c").write_text(driver(name, tree))
        command = [gcc, *WARNINGS, *flags, f"{name}.c", "driver.c", "-o", "program"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        graph = tree.subgraphs[0]
        outputs = [graph.tensors[i] for i in graph.outputs]
        dtypes = tuple({0: "<f4", 9: "i1"}[t.type] for t in outputs)
        return Program(folder / "program", dtypes, tuple(tuple(t.shape) for t in outputs))

    return build


@pytest.fixture(scope="session")
def reference() -> Callable[[bytes, list[Array]], list[Array]]:
    """What TFLite's reference kernels say, any batch size."""

    def reference(model: bytes, inputs: list[Array]) -> list[Array]:
        interpreter = open_interpreter(model, kernels="reference")
        rows = []
        for sample in range(len(inputs[0])):
            for detail, array in zip(interpreter.get_input_details(), inputs, strict=True):
                interpreter.set_tensor(detail["index"], array[sample])
            interpreter.invoke()
            rows.append([interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()])
        return [np.stack(column) for column in zip(*rows, strict=True)]

    return reference


@pytest.fixture(scope="session")
def samples() -> Callable[..., list[Array]]:
    """Random inputs and the edges of what an input can hold."""

    def samples(model: bytes, count: int, seed: int = 0) -> list[Array]:
        rng = np.random.default_rng(seed)
        graph = parse(model).subgraphs[0]
        found = []
        for index in graph.inputs:
            tensor = graph.tensors[index]
            shape = (count, *tensor.shape)
            if tensor.type == 9:
                values = rng.integers(-128, 128, shape).astype(np.int8)
                for row, edge in enumerate(EDGES[: count - 1]):
                    values[row] = edge
                values[-1] = np.where(rng.random(tensor.shape) < 0.5, -128, 127)
            else:
                steps = tensor.quantization is not None and tensor.quantization.scale is not None
                values = (rng.normal(size=shape) * (1 if steps else 10)).astype(np.float32)
                values[0], values[-1] = 0, 1e6
            found.append(values)
        return found

    return samples


@pytest.fixture
def model(request: pytest.FixtureRequest) -> bytes:
    """A network by its name."""
    if request.param in CONVERTED:
        return request.getfixturevalue("networks")[request.param]
    return (request.getfixturevalue("shared_dir") / "models" / f"{request.param}_int8.tflite").read_bytes()


@pytest.fixture(scope="session")
def tflite_micro_arena() -> dict[str, int]:
    """The arena that tflite-micro takes for the same files, in bytes.

    By `Interpreter.print_allocations` of the wheel tflite-micro 0.dev20261023. What the converted networks take
    depends a little on TensorFlow's version.
    """
    return {"ad01": 3984, "kws": 24272, "residual": 9280, "mobile": 21104}


@pytest.fixture(scope="session")
def networks() -> dict[str, bytes]:
    """A residual net and a MobileNet-like one, converted to int8 by TensorFlow."""
    import warnings

    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(3)
    layers = keras.layers

    def residual() -> Any:
        x = inputs = keras.Input((12, 12, 3))
        x = layers.Conv2D(8, 3, padding="same", activation="relu")(x)
        for channels, stride in ((8, 1), (16, 2), (24, 2)):
            y = layers.Conv2D(channels, 3, strides=stride, padding="same", activation="relu")(x)
            y = layers.Conv2D(channels, 3, padding="same")(y)
            same = stride == 1 and x.shape[-1] == channels
            x = x if same else layers.Conv2D(channels, 1, strides=stride)(x)
            x = layers.ReLU()(layers.Add()([x, y]))
        x = layers.AveragePooling2D(3)(x)
        return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Flatten()(x)))

    def mobile() -> Any:
        x = inputs = keras.Input((20, 20, 1))
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu6")(
            layers.ZeroPadding2D(((0, 1), (1, 0)))(x)
        )
        for channels, stride in ((16, 1), (16, 1), (32, 2), (32, 1), (48, 2)):
            y = layers.Conv2D(2 * x.shape[-1], 1, activation="relu6")(x)
            y = layers.DepthwiseConv2D(3, strides=stride, padding="same", activation="relu6")(y)
            y = layers.Conv2D(channels, 1)(y)
            x = layers.Add()([x, y]) if stride == 1 and x.shape[-1] == channels else y
        gate = layers.Conv2D(x.shape[-1], 1, activation="relu6", bias_initializer="ones")(
            layers.GlobalAveragePooling2D(keepdims=True)(x)
        )
        x = layers.GlobalAveragePooling2D()(layers.MaxPooling2D(2)(layers.Multiply()([x, gate])))
        return keras.Model(inputs, layers.Dense(6, activation="softmax")(x))

    def convert(net: Any) -> bytes:
        rng = np.random.default_rng(2)
        for weights in net.trainable_weights:  # untrained nets fade out, and answer the same to everything
            if len(weights.shape) > 1:
                weights.assign(rng.normal(size=weights.shape) * np.sqrt(2.5 / np.prod(weights.shape[:-1])))
        depthwise = [layer for layer in net.layers if isinstance(layer, layers.DepthwiseConv2D)]
        for layer in depthwise:
            layer.kernel.assign(layer.kernel * np.sqrt(layer.kernel.shape[2]))
        data = np.random.default_rng(1).normal(size=(30, 1, *net.input_shape[1:])).astype(np.float32)
        converter = tf.lite.TFLiteConverter.from_keras_model(net)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in data)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of statistics that it doesn't need
            return bytes(converter.convert())

    return {"residual": convert(residual()), "mobile": convert(mobile())}
