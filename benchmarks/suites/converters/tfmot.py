"""tensorflow-model-optimization, which needs Keras 2: an environment of its own, and its worker run in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["VARIABLE", "optimize"]

VARIABLE = "EDGELOOP_TFMOT_PYTHON"
PACKAGES = ("tensorflow-model-optimization==0.8.1", "tf_keras>=2.21", "tensorflow>=2.21")
CHECK = "import tensorflow_model_optimization"
HERE = Path(__file__).resolve().parent
INSTALL_S, WORK_S = 1800, 3600
PROBE = 32


def optimize(model: Any, x: Any, y: Any, calibration: Any) -> tuple[dict[str, bytes], dict[str, str]]:
    """Prune, cluster and train quantization-aware with it: the files by method, and why others aren't there.

    Args:
        model: the Keras 3 model, whose network `resnet8.build` gives.
        x: training inputs as the model takes them; y: their classes.
        calibration: inputs that fix the ranges.
    """
    try:
        python = environment()
    except (OSError, subprocess.SubprocessError) as error:
        return {}, {"all": f"no environment for it: {reason(error)}"}
    with tempfile.TemporaryDirectory(prefix="edgeloop-tfmot-") as name:
        folder = Path(name)
        weights = {f"weights/{layer.name}/{i}": w for layer in model.layers for i, w in enumerate(layer.get_weights())}
        answers = model.predict(x[:PROBE], verbose=0)
        np.savez(folder / "job.npz", x=x, y=y, calibration=calibration, probe=x[:PROBE], answers=answers, **weights)
        command = [str(python), str(HERE / "tfmot_worker.py"), str(folder / "job.npz"), str(folder)]
        # Without PYTHONPATH: this environment's packages are not for that one.
        clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        try:
            subprocess.run(command, check=True, stdout=sys.stderr, timeout=WORK_S, env=clean)
            notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
        except (OSError, subprocess.SubprocessError) as error:
            return {}, {"all": reason(error)}
        made = {name: (folder / note["file"]).read_bytes() for name, note in notes.items() if "file" in note}
        return made, {name: note["error"] for name, note in notes.items() if "error" in note}


def environment() -> Path:
    """The Python that has it: what the variable names, or one under the user's cache, made where it is absent."""
    if given := os.environ.get(VARIABLE):
        subprocess.run([given, "-c", CHECK], check=True, capture_output=True, timeout=INSTALL_S)
        return Path(given)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edgeloop" / "tfmot-0.8.1"
    python = cache / "bin" / "python"
    if not python.exists():
        venv.create(cache, with_pip=True)
    probe = subprocess.run([str(python), "-c", CHECK], check=False, capture_output=True, timeout=INSTALL_S)
    if probe.returncode:
        print(f"installing {', '.join(PACKAGES)} into {cache}", file=sys.stderr, flush=True)
        command = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES]
        subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S)
    return python


def reason(error: Exception) -> str:
    """One line on why a process failed: the last that it wrote, if it was heard."""
    heard = getattr(error, "stderr", None)
    text = heard.decode(errors="replace").strip() if isinstance(heard, bytes) else ""
    return text.splitlines()[-1][:200] if text else str(error)[:200]
