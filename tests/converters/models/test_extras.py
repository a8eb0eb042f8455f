"""ONNX and PyTorch, where their converters are installed; the truth is what their own runtimes answer."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeloop.backends import open_backend
from edgeloop.errors import ModelError
from edgeloop_converters import load_model

# onnx2tf brings onnx and onnxruntime into its own environment: the model is made, and answered, by that Python.
MAKE_ONNX = """
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

rng = np.random.default_rng(0)
weights = {"w": rng.normal(size=(8, 3, 3, 3)), "f": rng.normal(size=(8, 4))}
nodes = [
    helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
    helper.make_node("Relu", ["c"], ["r"]),
    helper.make_node("GlobalAveragePool", ["r"], ["p"]),
    helper.make_node("Flatten", ["p"], ["v"]),
    helper.make_node("MatMul", ["v", "f"], ["y"]),
]
graph = helper.make_graph(
    nodes, "small",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    [numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
model.ir_version = 8
onnx.save(model, "small.onnx")
x = rng.normal(size=(1, 3, 16, 16)).astype(np.float32)
np.savez("truth.npz", x=x, y=onnxruntime.InferenceSession("small.onnx").run(None, {"x": x})[0])
"""


def onnx_python() -> str:
    command = shutil.which("onnx2tf")
    if command is None:
        pytest.skip("no onnx2tf on the PATH: pipx install onnx2tf")
    return str(Path(command).resolve().parent / "python")


def test_an_onnx_model_answers_as_in_onnxruntime_on_channels_last_images(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run([onnx_python(), "-c", MAKE_ONNX], cwd=tmp_path, env=environment, check=True, capture_output=True)
    model = load_model(tmp_path / "small.onnx")
    assert [(p.name, p.shape) for p in model.inputs] == [("x", (1, 16, 16, 3))]
    assert "channels-last" in model.notes[0]
    with np.load(tmp_path / "truth.npz") as truth:
        answer = open_backend(model.flatbuffer).invoke([np.ascontiguousarray(truth["x"].transpose(0, 2, 3, 1))])[0]
        assert answer == pytest.approx(truth["y"], rel=1e-4, abs=1e-5)


def test_a_broken_onnx_file_says_what_onnx2tf_says(tmp_path: Path) -> None:
    onnx_python()
    (tmp_path / "broken.onnx").write_bytes(b"\x08\x08 not an ONNX graph")
    with pytest.raises(ModelError, match=r"onnx2tf refuses the model: ."):
        load_model(tmp_path / "broken.onnx")


def test_an_exported_pytorch_model_answers_as_in_pytorch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="no PyTorch: pip install 'edgeloop[torch]'")
    pytest.importorskip("litert_torch", reason="no litert-torch: pip install 'edgeloop[torch]'")
    torch.manual_seed(0)
    nn = torch.nn
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers, nn.Linear(8, 4)).eval()
    x = torch.randn(1, 3, 16, 16)
    torch.export.save(torch.export.export(network, (x,)), tmp_path / "small.pt2")
    model = load_model(tmp_path / "small.pt2")
    assert model.input_shape == (1, 3, 16, 16)
    assert "litert-torch" in model.notes[0]
    answer = open_backend(model.flatbuffer).invoke([x.numpy()])[0]
    assert answer == pytest.approx(network(x).detach().numpy(), rel=1e-4, abs=1e-5)
    torch.save(network, tmp_path / "pickled.pt")
    with pytest.raises(ModelError, match=r"torch\.export\.save"):
        load_model(tmp_path / "pickled.pt")
