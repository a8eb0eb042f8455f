"""`edgeloop compile-c`: what it writes, and what it refuses before it writes anything."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgeloop import cli
from edgeloop.artifact import pack_artifact, read_artifact, write_artifact
from edgeloop.errors import ConfigError, ModelError
from edgeloop_converters.compile_c_command import COMPILE_C
from edgeloop_converters.tflite import parse, serialize
from edgeloop_converters.to_c import compile_to_c
from tiny_models import tiny_artifact, tiny_model
from tree import REPO


def dense(net: Any, shape: tuple[int, ...] = (1, 4)) -> Any:
    """A fully connected layer and a softmax."""
    x = net.tensor(shape, scales=0.1, zero=3)
    weights = net.tensor((3, 4), scales=0.02, values=np.arange(12) - 6)
    y, z = net.tensor((1, 3), scales=0.05, zero=-4), net.tensor((1, 3), scales=1 / 256, zero=-128)
    net.graph.inputs, net.graph.outputs = [x], [z]
    net.op("FULLY_CONNECTED", [x, weights, -1], y, schema.FullyConnectedOptionsT())
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    net.op("SOFTMAX", [y], z, options)
    return net


@pytest.fixture
def int8_model(network: Callable[[int], Any]) -> bytes:
    return dense(network(0)).finish()


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.setattr(cli, "find_commands", lambda: {"compile-c": COMPILE_C})
    return lambda *arguments: cli.main(["compile-c", *map(str, arguments)])


def test_it_writes_a_source_and_a_header_named_after_the_model(
    int8_model: bytes, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "3-digits net.tflite"
    model.write_bytes(int8_model)
    assert run(model, "-o", tmp_path / "new" / "folder", "--name", "digits", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    folder = tmp_path / "new" / "folder"
    assert sorted(p.name for p in folder.iterdir()) == ["digits.c", "digits.h"]
    header = (folder / "digits.h").read_text()
    for line in (
        "#define DIGITS_INPUT_BYTES 4",
        "#define DIGITS_INPUT_SCALE 0.10000000149011612f",
        "#define DIGITS_INPUT_ZERO_POINT (3)",
        "#define DIGITS_OUTPUT_COUNT 3",
        f"#define DIGITS_ARENA_BYTES {said['arena_bytes']}",
        f'#define DIGITS_MODEL_SHA256 "{said["sha256"]}"',
        "int digits_run(const int8_t *input, int8_t *output);",
    ):
        assert line in header


def test_an_artifact_is_compiled_as_the_model_that_it_carries(
    int8_model: bytes, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.tflite"
    write_artifact(path, pack_artifact(int8_model, tiny_artifact().manifest))
    assert run(path, "-o", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == read_artifact(path).manifest.model.sha256
    assert (tmp_path / "net.c").read_text() == compile_to_c(int8_model, "net").source


@pytest.mark.parametrize("name", ["3d", "a-b", "_x", "a b", "é", "x" * 40])
def test_a_name_that_is_no_identifier_is_refused(
    name: str, int8_model: bytes, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(int8_model)
    assert run(tmp_path / "m.tflite", "-o", tmp_path / "out", "--name", name) == 2
    assert repr(name) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_everything_that_stands_in_the_way_is_named_before_anything_is_written(
    network: Callable[[int], Any], run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = dense(network(0))
    z = net.graph.outputs[0]
    a, b = net.tensor((1, 3), scales=1 / 256, zero=-128), net.tensor((1, 3), "int16", scales=1 / 256)
    net.op("LOGISTIC", [z], a, schema.LogisticOptionsT() if hasattr(schema, "LogisticOptionsT") else None)
    net.op("QUANTIZE", [a], b, schema.QuantizeOptionsT())
    net.graph.outputs = [b]
    net.graph.operators[0].builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.TANH
    net.model.subgraphs.append(net.graph)
    (tmp_path / "m.tflite").write_bytes(net.finish())
    assert run(tmp_path / "m.tflite", "-o", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    for phrase in (
        "2 subgraphs",
        "op 0 (FULLY_CONNECTED) has the fused activation TANH",
        "op 2 (LOGISTIC) isn't among the operators that are compiled",
        "op 3 (QUANTIZE) tensor 5 (t5 1x3) is int16",
    ):
        assert phrase in said
    assert not (tmp_path / "out").exists()


def test_a_float_model_is_refused_in_a_line_that_says_what_to_do(run: Callable[..., int], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"computes in float32.*edgeloop convert"):
        compile_to_c(tiny_model(), "m")


def change(model: bytes, what: Callable[[Any], None]) -> bytes:
    tree = parse(model)
    what(tree.subgraphs[0])
    return serialize(tree)


def set_signature(graph: Any) -> None:
    graph.tensors[0].shapeSignature = np.array([1, -1], np.int32)


def set_variable(graph: Any) -> None:
    graph.tensors[0].isVariable = True


def set_weights_free(graph: Any) -> None:
    graph.tensors[1].buffer = 0


def set_no_scale(graph: Any) -> None:
    graph.tensors[2].quantization = None


def set_another_scale(graph: Any) -> None:
    graph.tensors[0].quantization.scale = np.array([0.2], np.float32)


def set_huge_scale(graph: Any) -> None:
    graph.tensors[0].quantization.scale = np.array([1e30], np.float32)


def set_zero_point(graph: Any) -> None:
    graph.tensors[0].quantization.zeroPoint = np.array([-300])


def set_shape(graph: Any) -> None:
    graph.tensors[2].shape = np.array([1, 7], np.int32)


def cut_options(graph: Any) -> None:
    graph.operators[0].builtinOptions, graph.operators[0].builtinOptionsType = None, 0


@pytest.mark.parametrize(
    ("what", "phrase"),
    [
        (set_signature, "tensor 0 (t0 1x4) has a shape that isn't fixed: (1, -1)"),
        (set_variable, "tensor 0 (t0 1x4) keeps its value from call to call"),
        (set_weights_free, "op 0 (FULLY_CONNECTED) reads tensor 1 (t1 3x4), which nothing writes before it"),
        (set_no_scale, "op 0 (FULLY_CONNECTED) tensor 2 (t2 1x3) has 0 scales where one is needed"),
        (set_huge_scale, "op 0 (FULLY_CONNECTED) scales its sums past int32"),
        (set_zero_point, "op 0 (FULLY_CONNECTED) tensor 0 (t0 1x4) has the zero point -300, outside int8"),
        (set_shape, "op 0 (FULLY_CONNECTED) has the weights t1 3x4 for t0 1x4 and t2 1x7"),
        (cut_options, "op 0 (FULLY_CONNECTED) is damaged"),
    ],
)
def test_a_model_that_cannot_be_compiled_says_where(
    what: Callable[[Any], None], phrase: str, int8_model: bytes
) -> None:
    with pytest.raises(ModelError) as caught:
        compile_to_c(change(int8_model, what), "m")
    assert phrase in str(caught.value)


def test_a_batch_that_may_be_resized_is_compiled_as_one_sample(network: Callable[[int], Any]) -> None:
    def resizable(graph: Any) -> None:
        graph.tensors[0].shapeSignature = np.array([-1, 4], np.int32)

    compile_to_c(change(dense(network(0)).finish(), resizable), "m")


@pytest.mark.parametrize("cut", [0, 7, 100, 400])
def test_a_damaged_file_is_refused(
    cut: int, int8_model: bytes, run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.tflite").write_bytes(int8_model[:cut])
    assert run(tmp_path / "m.tflite", "-o", tmp_path / "out") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_missing_file_is_named(run: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "no.tflite", "-o", tmp_path) == 2
    assert "no.tflite" in capsys.readouterr().err


def test_a_name_must_be_given_in_python_too(int8_model: bytes) -> None:
    with pytest.raises(ConfigError):
        compile_to_c(int8_model, "")


def test_a_source_and_a_header_of_different_models_do_not_compile_together(
    gcc: str, int8_model: bytes, tmp_path: Path
) -> None:
    other = change(int8_model, set_another_scale)
    (tmp_path / "m.c").write_text(compile_to_c(int8_model, "m").source)
    (tmp_path / "m.h").write_text(compile_to_c(other, "m").header)
    done = subprocess.run([gcc, "-c", "m.c"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "compile the model again" in done.stderr


def test_the_header_serves_cpp(int8_model: bytes, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine")
    (tmp_path / "m.h").write_text(compile_to_c(int8_model, "m").header)
    (tmp_path / "main.cpp").write_text('#include "m.h"\nint main() { m_invoke(); return m_input()[0]; }\n')
    subprocess.run(["g++", "-Wall", "-Werror", "-pedantic", "-c", "main.cpp"], cwd=tmp_path, check=True)


def test_a_null_pointer_is_answered_with_minus_one(gcc: str, int8_model: bytes, tmp_path: Path) -> None:
    compiled = compile_to_c(int8_model, "m")
    (tmp_path / "m.c").write_text(compiled.source)
    (tmp_path / "m.h").write_text(compiled.header)
    (tmp_path / "main.c").write_text('#include "m.h"\nint main(void) { return m_run(0, m_input()) == -1 ? 0 : 1; }\n')
    subprocess.run([gcc, "-std=c99", "m.c", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    subprocess.run([str(tmp_path / "main")], check=True)


def test_the_program_in_the_how_to_page_works_as_it_stands(gcc: str, int8_model: bytes, tmp_path: Path) -> None:
    page = (REPO / "docs" / "how-to" / "microcontroller.md").read_text()
    (program,) = re.findall(r"```c\n(.*?)```", page, flags=re.DOTALL)
    compiled = compile_to_c(int8_model, "digits")
    (tmp_path / "digits.c").write_text(compiled.source)
    (tmp_path / "digits.h").write_text(compiled.header)
    (tmp_path / "main.c").write_text(program)
    command = [gcc, "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "digits.c", "main.c", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True)
    said = subprocess.run([str(tmp_path / "main")], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(r"class [0-2], score 0\.\d{3}\n", said)
