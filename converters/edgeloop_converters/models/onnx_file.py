"""ONNX models, through the command `onnx2tf`, which lives in an environment of its own.

It pins the versions of all that it needs, and those exclude the ones that litert-quantizer pins (ai-edge-litert 2.1.2
against 2.3.0), so no environment can hold both. Its default route writes the flatbuffer without TensorFlow.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgeloop.errors import ModelError
from edgeloop_converters.models.loaded import LoadedModel
from edgeloop_converters.models.tflite_file import loaded_flatbuffer

__all__ = ["load_onnx"]

_TIMEOUT_S = 1800


def load_onnx(path: Path) -> LoadedModel:
    """Convert a `.onnx` file to a float `.tflite` with `onnx2tf`, and read that.

    Images become channels-last, as LiteRT computes them: an ONNX input (n, c, h, w) is then (n, h, w, c).

    Raises:
        ModelError: the command `onnx2tf` isn't there, or refuses the model.
    """
    command = shutil.which("onnx2tf")
    if command is None:
        raise ModelError(
            f"{path}: ONNX needs the command onnx2tf on the PATH: install it in an environment of its own (`pipx "
            "install onnx2tf`, Python 3.12 or newer), since the versions that it pins exclude litert-quantizer's"
        )
    with tempfile.TemporaryDirectory(prefix="edgeloop-onnx-") as folder:
        line = [command, "-i", str(path.resolve()), "-o", folder, "-n"]
        # Another Python than this one: it must not find this one's packages.
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        try:
            done = subprocess.run(
                line, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise ModelError(f"{path}: onnx2tf took more than {_TIMEOUT_S} s: try it by hand") from error
        made = sorted(Path(folder).glob("*_float32.tflite"))
        if done.returncode != 0 or len(made) != 1:
            raise ModelError(f"{path}: onnx2tf refuses the model: {_last_error(done.stderr + done.stdout)}")
        model = made[0].read_bytes()
    return loaded_flatbuffer(path, model, ("converted by onnx2tf, which makes images channels-last",))


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()]
    return (errors or lines or ["it says nothing"])[-1][:300]
