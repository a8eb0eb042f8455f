"""tensorflow-model-optimization, which needs Keras 2: its worker is run in an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop_bench.peers import PEERS, PeerUnavailableError, clean_environment, peer_python

__all__ = ["optimize"]

HERE = Path(__file__).resolve().parent
WORK_S = 3600
PROBE = 32


def optimize(model: Any, x: Any, y: Any, calibration: Any) -> tuple[dict[str, bytes], dict[str, str]]:
    """Prune, cluster and train quantization-aware with it: the files by method, and why others aren't there.

    Args:
        model: the Keras 3 model, whose network `resnet8.build` gives.
        x: training inputs as the model takes them; y: their classes.
        calibration: inputs that fix the ranges.
    """
    try:
        python = peer_python(PEERS["tfmot"])
    except PeerUnavailableError as error:
        return {}, {"all": str(error)}
    with tempfile.TemporaryDirectory(prefix="edgeloop-tfmot-") as name:
        folder = Path(name)
        weights = {f"weights/{layer.name}/{i}": w for layer in model.layers for i, w in enumerate(layer.get_weights())}
        answers = model.predict(x[:PROBE], verbose=0)
        np.savez(folder / "job.npz", x=x, y=y, calibration=calibration, probe=x[:PROBE], answers=answers, **weights)
        command = [str(python), str(HERE / "tfmot_worker.py"), str(folder / "job.npz"), str(folder)]
        try:
            subprocess.run(command, check=True, stdout=sys.stderr, timeout=WORK_S, env=clean_environment())
            notes = json.loads((folder / "notes.json").read_text(encoding="utf-8"))
        except (OSError, subprocess.SubprocessError) as error:
            return {}, {"all": reason(error)}
        made = {name: (folder / note["file"]).read_bytes() for name, note in notes.items() if "file" in note}
        return made, {name: note["error"] for name, note in notes.items() if "error" in note}


def reason(error: Exception) -> str:
    """One line on why a process failed: the last that it wrote, if it was heard."""
    heard = getattr(error, "stderr", None)
    text = heard.decode(errors="replace").strip() if isinstance(heard, bytes) else ""
    return text.splitlines()[-1][:200] if text else str(error)[:200]
