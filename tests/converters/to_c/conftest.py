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

from edgeloop_converters.tflite import parse
from edgeloop_converters.tflite.interpreter import open_interpreter
from edgeloop_converters.to_c import compile_to_c
from int8_networks import Network, converted_networks

Array = np.ndarray[Any, np.dtype[Any]]

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wundef", "-Werror", "-pedantic")
CROSS = "arm-none-eabi-gcc"
CONVERTED = ("residual", "mobile")
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


@pytest.fixture(scope="session")
def cross() -> str:
    """ARM's compiler."""
    if shutil.which(CROSS) is None:
        pytest.skip(f"no {CROSS} on this machine (Debian: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi)")
    return CROSS


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
    return converted_networks()
