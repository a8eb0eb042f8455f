"""The same bits on every machine: digests, another numpy, other vector units, and the way through a manifest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgeloop.manifest import decode_manifest, encode_manifest
from edgeloop.preprocessing import preprocess
from preprocessing_cases import CASES, digests
from tiny_models import tiny_artifact

SUPPORT = Path(__file__).resolve().parents[2] / "support"

# Given alike by numpy 2.4 and 1.26, with AVX2 and without.
DIGESTS = {
    "scale": "1ef6742bf5178554",
    "normalize": "8c39116fcf42ca5e",
    "nearest": "3b9d4abcdbdc43bc",
    "bilinear": "452b8c3cd44de66d",
    "crop": "0d7da9ef6bea179d",
    "impute": "af86ccdfc720bc85",
    "vocabulary": "4be337296e674a99",
    "frames": "72a252349c863c14",
    "log_mel_htk": "b446b5456e83fd2f",
    "log_mel_slaney": "b81e8afd4b7f604e",
}


def run_elsewhere(python: str, **environment: str) -> dict:
    source = str(Path(sys.modules["edgeloop"].__file__).parent.parent)
    path = os.pathsep.join([source, str(SUPPORT)])
    line = [python, str(SUPPORT / "preprocessing_cases.py")]
    done = subprocess.run(
        line, env={**os.environ, "PYTHONPATH": path, **environment}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_every_machine_gives_these_digests() -> None:
    assert digests() == DIGESTS


def test_numpy_1_gives_the_same_bits() -> None:
    python = os.environ.get("EDGELOOP_NUMPY1_PYTHON")
    if python is None:
        pytest.skip("EDGELOOP_NUMPY1_PYTHON names no Python with numpy 1 (and msgspec)")
    found = run_elsewhere(python)
    assert found["numpy"].startswith("1.")
    assert found["digests"] == DIGESTS


def test_a_processor_without_vector_units_gives_the_same_bits() -> None:
    import numpy as np

    core = np._core if hasattr(np, "_core") else np.core
    features = core._multiarray_umath.__cpu_features__
    dispatched = [f for f in core._multiarray_umath.__cpu_dispatch__ if features.get(f)]
    assert run_elsewhere(sys.executable, NPY_DISABLE_CPU_FEATURES=" ".join(dispatched))["digests"] == DIGESTS


def test_steps_come_out_of_a_manifest_as_they_went_in() -> None:
    manifest = tiny_artifact().manifest
    for name, (steps, x) in CASES.items():
        packed = encode_manifest(msgspec.structs.replace(manifest, preprocessing=steps))
        back = decode_manifest(packed, "test").preprocessing
        assert back == steps
        assert preprocess(back, x).tobytes() == preprocess(steps, x).tobytes(), name
